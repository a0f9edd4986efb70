//===- SerializeCommon.cpp - device form to LLVM to assembly --------------===//
//
// Kernels arrive blocked, unrolled and with their loads widened. A short list of
// LLVM passes simplifies addresses and hoists what does not change; nothing in it
// unrolls or vectorises.
//
//===----------------------------------------------------------------------===//
#include "fla/Support/CrashGuard.h"
#include "fla/Target/GPU/Serialize.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/LLVMIR/ROCDLDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/ROCDL/ROCDLToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/DiagnosticHandler.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/DiagnosticPrinter.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Target/TargetMachine.h"

#include <mutex>

using namespace mlir;

namespace fla::gpu {

void registerDeviceDialects(DialectRegistry &registry) {
  registry.insert<arith::ArithDialect, scf::SCFDialect, LLVM::LLVMDialect, NVVM::NVVMDialect, ROCDL::ROCDLDialect>();
}

//===----------------------------------------------------------------------===//
// Kernels of a module
//===----------------------------------------------------------------------===//

static constexpr StringLiteral kKernel = "fla.gpu_kernel";

bool isDeviceForm(ModuleOp module) {
  return llvm::any_of(module.getOps<LLVM::LLVMFuncOp>(), [](LLVM::LLVMFuncOp function) { return function->hasAttr(kKernel); });
}

Location locationOf(ModuleOp deviceForm) {
  for (auto function : deviceForm.getOps<LLVM::LLVMFuncOp>())
    if (function->hasAttr(kKernel))
      return function.getLoc();
  return deviceForm.getLoc();
}

static FailureOr<int64_t> readNumber(LLVM::LLVMFuncOp kernel, StringRef name) {
  auto attribute = kernel->getAttrOfType<IntegerAttr>(name);
  if (!attribute)
    return kernel.emitError() << "expected the integer attribute '" << name << "' on a kernel in device form";
  return attribute.getInt();
}

static LogicalResult checkLimits(LLVM::LLVMFuncOp kernel, const KernelResources &resources, const Chip &chip) {
  if (resources.threads <= 0 || resources.threads > chip.maxThreads || resources.threads % chip.lanes != 0)
    return kernel.emitError() << "expected a positive multiple of " << chip.lanes << " threads a block, at most " << chip.maxThreads << ", on "
                              << chip.name.str() << ", got " << resources.threads;
  if (resources.sharedBytes < 0 || resources.sharedBytes > chip.sharedBytes)
    return kernel.emitError() << "expected at most " << chip.sharedBytes << " bytes of shared memory a block on " << chip.name.str() << ", got "
                              << resources.sharedBytes;
  return success();
}

static FailureOr<KernelResources> readKernel(LLVM::LLVMFuncOp kernel, const Chip &chip) {
  FailureOr<int64_t> threads = readNumber(kernel, "fla.threads"), shared = readNumber(kernel, "fla.shared");
  if (failed(threads) || failed(shared))
    return failure();
  auto optional = [&](StringRef name, int64_t absent) {
    auto attribute = kernel->getAttrOfType<IntegerAttr>(name);
    return attribute ? attribute.getInt() : absent;
  };
  KernelResources resources;
  resources.name = kernel.getName().str();
  resources.chunk = optional("fla.chunk", 0);
  resources.blocks = optional("fla.blocks", 1);
  resources.overChunks = kernel->hasAttr("fla.over_chunks");
  resources.threads = *threads;
  resources.sharedBytes = *shared;
  resources.dynamicSharedBytes = chip.vendor == Vendor::NVIDIA ? *shared : 0;
  if (failed(checkLimits(kernel, resources, chip)))
    return failure();
  return resources;
}

FailureOr<std::vector<KernelResources>> readKernels(ModuleOp deviceForm, const Chip &chip) {
  std::vector<KernelResources> kernels;
  for (auto function : deviceForm.getOps<LLVM::LLVMFuncOp>()) {
    if (!function->hasAttr(kKernel))
      continue;
    FailureOr<KernelResources> kernel = readKernel(function, chip);
    if (failed(kernel))
      return failure();
    kernels.push_back(*kernel);
  }
  if (kernels.empty())
    return deviceForm.emitError() << "expected a kernel in device form (an llvm.func with '" << kKernel.str() << "'), got none";
  return kernels;
}

//===----------------------------------------------------------------------===//
// To LLVM IR
//===----------------------------------------------------------------------===//

static LogicalResult lowerToLLVMDialect(ModuleOp module, const Backend &backend) {
  PassManager pm(module.getContext(), ModuleOp::getOperationName(), PassManager::Nesting::Explicit);
  pm.enableVerifier(false);
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createUBToLLVMConversionPass());
  backend.addLowering(pm);
  pm.addPass(createReconcileUnrealizedCastsPass());
  return pm.run(module);
}

FailureOr<std::unique_ptr<llvm::Module>> translateDeviceModule(ModuleOp deviceForm, const Chip &chip, const Backend &backend,
                                                               llvm::LLVMContext &context) {
  OwningOpRef<ModuleOp> copy = deviceForm.clone();
  backend.prepare(*copy, chip);
  if (failed(lowerToLLVMDialect(*copy, backend)))
    return failure();
  MLIRContext *mlirContext = deviceForm.getContext();
  registerBuiltinDialectTranslation(*mlirContext);
  registerLLVMDialectTranslation(*mlirContext);
  registerNVVMDialectTranslation(*mlirContext);
  registerROCDLDialectTranslation(*mlirContext);
  std::unique_ptr<llvm::Module> code = translateModuleToLLVMIR(*copy, context, "fla");
  if (!code)
    return failure();
  backend.finish(*code);
  return code;
}

//===----------------------------------------------------------------------===//
// Code generation
//===----------------------------------------------------------------------===//

namespace {
/// Collects errors of the code generator; without it LLVM prints them and exits.
struct Complaints : llvm::DiagnosticHandler {
  explicit Complaints(std::string &text) : text(text) {}
  bool handleDiagnostics(const llvm::DiagnosticInfo &info) override {
    if (info.getSeverity() != llvm::DS_Error)
      return true; // remarks and warnings are not for our user
    llvm::raw_string_ostream stream(text);
    llvm::DiagnosticPrinterRawOStream printer(stream);
    stream << (text.empty() ? "" : "; ");
    info.print(printer);
    return true;
  }
  std::string &text;
};

/// Everything that one compilation owns. After a crash it is leaked.
struct Compilation {
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> code;
  std::unique_ptr<llvm::TargetMachine> machine;
  std::string complaints;
};
} // namespace

static std::unique_ptr<llvm::TargetMachine> createTargetMachine(const Chip &chip, const Backend &backend, std::string &error) {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  backend.initialise();
  llvm::Triple triple(backend.triple);
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return nullptr;
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Fast;
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(triple, chip.name, chip.features, options, llvm::Reloc::PIC_, std::nullopt,
                                                                          llvm::CodeGenOptLevel::Default, /*JIT=*/false));
}

static llvm::Error optimise(llvm::Module &module, llvm::TargetMachine &machine, const Backend &backend) {
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
  std::string pipeline = "function(sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg,infer-address-spaces,loop-mssa(loop-rotate,licm),"
                         "early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg)";
  pipeline += backend.cleanup;
  if (llvm::Error error = builder.parsePassPipeline(passes, pipeline))
    return error;
  passes.run(module, mam);
  return llvm::Error::success();
}

/// Optimises and emits; what went wrong is in `complaints`.
static void generate(Compilation &work, const Backend &backend, llvm::CodeGenFileType type, llvm::SmallVectorImpl<char> &bytes) {
  if (llvm::Error error = optimise(*work.code, *work.machine, backend)) {
    work.complaints = llvm::toString(std::move(error));
    return;
  }
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  if (work.machine->addPassesToEmitFile(passes, stream, nullptr, type))
    work.complaints = "this kind of file cannot be emitted";
  else
    passes.run(*work.code);
}

std::shared_mutex &optionsMutex() {
  static std::shared_mutex mutex;
  return mutex;
}

FailureOr<std::string> emitDevice(ModuleOp deviceForm, const Chip &chip, const Backend &backend, llvm::CodeGenFileType type) {
  auto work = std::make_unique<Compilation>();
  work->context.setDiagnosticHandler(std::make_unique<Complaints>(work->complaints));
  auto translated = translateDeviceModule(deviceForm, chip, backend, work->context);
  if (failed(translated))
    return failure();
  work->code = std::move(*translated);
  std::string problem;
  std::shared_lock lock(optionsMutex());
  work->machine = createTargetMachine(chip, backend, problem);
  if (!work->machine)
    return emitError(locationOf(deviceForm)) << "expected a code generator for " << chip.name.str() << ": " << problem;
  work->code->setDataLayout(work->machine->createDataLayout());
  work->code->setTargetTriple(work->machine->getTargetTriple());
  llvm::SmallVector<char, 0> bytes;
  CrashGuard guard;
  if (!guard.run([&] { generate(*work, backend, type, bytes); })) {
    (void)work.release();
    return emitError(locationOf(deviceForm)) << "the code generator of LLVM failed on this module for " << chip.name.str()
                                             << (guard.reason().empty() ? "" : ": ") << guard.reason();
  }
  if (!work->complaints.empty())
    return emitError(locationOf(deviceForm)) << "expected code for " << chip.name.str() << " from the code generator of LLVM: " << work->complaints;
  return std::string(bytes.begin(), bytes.end());
}

} // namespace fla::gpu
