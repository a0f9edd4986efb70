//===- Object.cpp - from the LLVM dialect to an object file ---------------===//
//
// The loops are already vectorised and blocked, so a short list of LLVM passes
// does what the whole -O3 pipeline would, in a fraction of its time.
//
//===----------------------------------------------------------------------===//
#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Support/CrashGuard.h"
#include "fla/Target/CPU/CPU.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"

#include <mutex>

using namespace mlir;

namespace fla::cpu {

static const llvm::StringMap<bool> &hostFeatures() {
  static const llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
  return features;
}

int64_t hostVectorBytes() {
  auto has = [](StringRef name) { return hostFeatures().lookup(name); };
  if (has("avx512f") && has("avx512vl") && has("avx512dq") && has("avx512bw"))
    return 64;
  return has("avx2") ? 32 : 16;
}

/// Features in a fixed order, as the code generator takes them.
static std::string featureString() {
  std::vector<std::string> all;
  for (const auto &feature : hostFeatures())
    all.push_back((feature.second ? "+" : "-") + feature.first().str());
  llvm::sort(all);
  return llvm::join(all, ",");
}

std::string hostDescription() { return llvm::sys::getProcessTriple() + ";" + llvm::sys::getHostCPUName().str() + ";" + featureString(); }

static std::unique_ptr<llvm::TargetMachine> createTargetMachine(std::string &error) {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });
  llvm::Triple triple(llvm::sys::getProcessTriple());
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return nullptr;
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Fast;
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(triple, llvm::sys::getHostCPUName(), featureString(), options,
                                                                          llvm::Reloc::PIC_, std::nullopt,
                                                                          llvm::CodeGenOptLevel::Default, /*JIT=*/false));
}

static FailureOr<std::unique_ptr<llvm::Module>> translate(ModuleOp module, llvm::LLVMContext &context, std::vector<KernelInfo> &kernels) {
  OwningOpRef<ModuleOp> copy = module.clone();
  PassManager pm(module.getContext(), ModuleOp::getOperationName(), PassManager::Nesting::Explicit);
  pm.enableVerifier(false);
  pm.addPass(createConvertTileToLLVM());
  if (failed(pm.run(*copy)))
    return failure();
  for (auto function : copy->getOps<LLVM::LLVMFuncOp>()) {
    auto workspace = function->getAttrOfType<IntegerAttr>("fla.workspace");
    if (!workspace)
      continue;
    auto number = [&](StringRef name) { return function->getAttrOfType<IntegerAttr>(name).getInt(); };
    kernels.push_back({function.getName().str(), number("fla.chunk"), number("fla.blocks"), function->hasAttr("fla.over_chunks"), workspace.getInt()});
  }
  registerBuiltinDialectTranslation(*module.getContext());
  registerLLVMDialectTranslation(*module.getContext());
  auto result = translateModuleToLLVMIR(*copy, context, "fla");
  if (!result)
    return failure();
  return result;
}

static void setAttributes(llvm::Module &module, const llvm::TargetMachine &machine) {
  module.setDataLayout(machine.createDataLayout());
  module.setTargetTriple(machine.getTargetTriple());
  for (llvm::Function &function : module) {
    function.addFnAttr(llvm::Attribute::NoUnwind);
    if (function.isDeclaration())
      continue;
    function.addFnAttr("prefer-vector-width", std::to_string(hostVectorBytes() * 8));
    function.addFnAttr("min-legal-vector-width", std::to_string(hostVectorBytes() * 8));
  }
}

static llvm::Error optimise(llvm::Module &module, llvm::TargetMachine &machine) {
  llvm::LoopAnalysisManager lam;
  llvm::FunctionAnalysisManager fam;
  llvm::CGSCCAnalysisManager cgam;
  llvm::ModuleAnalysisManager mam;
  llvm::PassBuilder builder(&machine);
  builder.registerModuleAnalyses(mam);
  builder.registerCGSCCAnalyses(cgam);
  builder.registerFunctionAnalyses(fam);
  builder.registerLoopAnalyses(lam);
  builder.crossRegisterProxies(lam, fam, cgam, mam);
  llvm::ModulePassManager passes;
  if (llvm::Error error = builder.parsePassPipeline(
          passes, "function(early-cse,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(loop-rotate,licm),early-cse<memssa>,"
                  "instcombine<no-verify-fixpoint>,simplifycfg)"))
    return error;
  passes.run(module, mam);
  return llvm::Error::success();
}

/// Translates and optimises, then hands the module to `finish`.
static LogicalResult compile(ModuleOp module, std::vector<KernelInfo> &kernels,
                             llvm::function_ref<bool(llvm::Module &, llvm::TargetMachine &)> finish) {
  // Owned here and leaked after a crash: its state is then unknown.
  auto context = std::make_unique<llvm::LLVMContext>();
  auto translated = translate(module, *context, kernels);
  if (failed(translated))
    return failure();
  std::unique_ptr<llvm::Module> code = std::move(*translated);
  std::string problem;
  std::unique_ptr<llvm::TargetMachine> machine = createTargetMachine(problem);
  if (!machine)
    return module.emitError() << "expected a code generator for this machine: " << problem;
  setAttributes(*code, *machine);
  bool done = false;
  CrashGuard guard;
  bool survived = guard.run([&] {
    if (llvm::Error error = optimise(*code, *machine))
      problem = llvm::toString(std::move(error));
    else
      done = finish(*code, *machine);
  });
  if (!survived) {
    (void)context.release();
    (void)code.release();
    (void)machine.release();
    return module.emitError() << "the code generator of LLVM failed on this module" << (guard.reason().empty() ? "" : ": ") << guard.reason();
  }
  if (!done)
    return module.emitError() << "expected an object file from the code generator" << (problem.empty() ? "" : ": ") << problem;
  return success();
}

FailureOr<ObjectCode> compileToObject(ModuleOp module) {
  ObjectCode result;
  llvm::SmallVector<char, 0> bytes;
  auto emit = [&](llvm::Module &code, llvm::TargetMachine &machine) {
    llvm::raw_svector_ostream stream(bytes);
    llvm::legacy::PassManager passes;
    if (machine.addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::ObjectFile))
      return false;
    passes.run(code);
    return true;
  };
  if (failed(compile(module, result.kernels, emit)))
    return failure();
  result.object.assign(bytes.begin(), bytes.end());
  return result;
}

FailureOr<std::string> compileToLLVMIR(ModuleOp module) {
  std::string text;
  std::vector<KernelInfo> kernels;
  auto print = [&](llvm::Module &code, llvm::TargetMachine &) {
    llvm::raw_string_ostream stream(text);
    code.print(stream, nullptr);
    return true;
  };
  if (failed(compile(module, kernels, print)))
    return failure();
  return text;
}

} // namespace fla::cpu
