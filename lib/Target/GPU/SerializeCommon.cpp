//===- SerializeCommon.cpp - device form to LLVM to assembly --------------===//
//
// Kernels arrive blocked, unrolled and with their loads widened. A short list of
// LLVM passes simplifies addresses and hoists what does not change; nothing in it
// unrolls or vectorises.
//
//===----------------------------------------------------------------------===//
#include "fla/Support/CrashGuard.h"
#include "fla/Support/Threads.h"
#include "fla/Target/GPU/Serialize.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/NVVMToLLVM/NVVMToLLVM.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
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
  arith::registerConvertArithToLLVMInterface(registry);
  cf::registerConvertControlFlowToLLVMInterface(registry);
  registerConvertMathToLLVMInterface(registry);
  registerConvertNVVMToLLVMInterface(registry);
  ub::registerConvertUBToLLVMInterface(registry);
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
  pm.addPass(createConvertToLLVMPass()); // all dialects in one conversion: a walk each costs as much as the kernel is long
  backend.addLowering(pm);
  pm.addPass(createReconcileUnrealizedCastsPass());
  return pm.run(module);
}

/// Of a module that this changes.
static FailureOr<std::unique_ptr<llvm::Module>> translate(ModuleOp module, const Chip &chip, const Backend &backend, llvm::LLVMContext &context) {
  backend.prepare(module, chip);
  if (failed(lowerToLLVMDialect(module, backend)))
    return failure();
  MLIRContext *mlirContext = module.getContext();
  registerBuiltinDialectTranslation(*mlirContext);
  registerLLVMDialectTranslation(*mlirContext);
  registerNVVMDialectTranslation(*mlirContext);
  registerROCDLDialectTranslation(*mlirContext);
  std::unique_ptr<llvm::Module> code = translateModuleToLLVMIR(module, context, "fla");
  if (!code)
    return failure();
  backend.finish(*code);
  return code;
}

FailureOr<std::unique_ptr<llvm::Module>> translateDeviceModule(ModuleOp deviceForm, const Chip &chip, const Backend &backend,
                                                               llvm::LLVMContext &context) {
  OwningOpRef<ModuleOp> copy = deviceForm.clone();
  return translate(*copy, chip, backend, context);
}

/// A module for each kernel, with all that is no kernel.
static std::vector<OwningOpRef<ModuleOp>> splitKernels(ModuleOp deviceForm) {
  auto isKernel = [](Operation &op) { return op.hasAttr(kKernel); };
  std::vector<OwningOpRef<ModuleOp>> parts;
  for (Operation &kernel : llvm::make_filter_range(*deviceForm.getBody(), isKernel)) {
    OwningOpRef<ModuleOp> part = cast<ModuleOp>(deviceForm->cloneWithoutRegions());
    part->getBodyRegion().emplaceBlock();
    OpBuilder builder = OpBuilder::atBlockBegin(part->getBody());
    for (Operation &op : *deviceForm.getBody())
      if (&op == &kernel || !isKernel(op))
        builder.clone(op);
    parts.push_back(std::move(part));
  }
  return parts;
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

/// Translates a module, which this changes, for `generate`.
static FailureOr<std::unique_ptr<Compilation>> begin(ModuleOp module, const Chip &chip, const Backend &backend) {
  auto work = std::make_unique<Compilation>();
  work->context.setDiagnosticHandler(std::make_unique<Complaints>(work->complaints));
  auto translated = translate(module, chip, backend, work->context);
  if (failed(translated))
    return failure();
  work->code = std::move(*translated);
  return work;
}

/// Code, or what went wrong in words. On any thread: nothing of MLIR is touched.
static llvm::Expected<std::string> complete(std::unique_ptr<Compilation> work, const Chip &chip, const Backend &backend, llvm::CodeGenFileType type) {
  std::shared_lock lock(optionsMutex());
  std::string problem;
  work->machine = createTargetMachine(chip, backend, problem);
  if (!work->machine)
    return llvm::createStringError("expected a code generator for " + chip.name + ": " + problem);
  work->code->setDataLayout(work->machine->createDataLayout());
  work->code->setTargetTriple(work->machine->getTargetTriple());
  llvm::SmallVector<char, 0> bytes;
  CrashGuard guard;
  if (!guard.run([&] { generate(*work, backend, type, bytes); })) {
    (void)work.release();
    return llvm::createStringError("the code generator of LLVM failed on this module for " + chip.name + (guard.reason().empty() ? "" : ": ") +
                                   guard.reason());
  }
  if (!work->complaints.empty())
    return llvm::createStringError("expected code for " + chip.name + " from the code generator of LLVM: " + work->complaints);
  return std::string(bytes.begin(), bytes.end());
}

FailureOr<std::string> emitDevice(ModuleOp deviceForm, const Chip &chip, const Backend &backend, llvm::CodeGenFileType type) {
  OwningOpRef<ModuleOp> copy = deviceForm.clone();
  auto work = begin(*copy, chip, backend);
  if (failed(work))
    return failure();
  llvm::Expected<std::string> code = complete(std::move(*work), chip, backend, type);
  if (!code)
    return emitError(locationOf(deviceForm)) << llvm::toString(code.takeError());
  return *code;
}

FailureOr<std::vector<std::string>> emitKernels(ModuleOp deviceForm, const Chip &chip, const Backend &backend, int64_t threads) {
  auto isShared = [](LLVM::LLVMFuncOp function) { return !function->hasAttr(kKernel) && !function.isExternal(); };
  if (llvm::any_of(deviceForm.getOps<LLVM::LLVMFuncOp>(), isShared)) { // kernels share functions
    FailureOr<std::string> whole = emitDevice(deviceForm, chip, backend, llvm::CodeGenFileType::AssemblyFile);
    return failed(whole) ? FailureOr<std::vector<std::string>>() : std::vector<std::string>{std::move(*whole)};
  }
  std::vector<OwningOpRef<ModuleOp>> parts = splitKernels(deviceForm);
  std::vector<std::unique_ptr<Compilation>> works;
  for (OwningOpRef<ModuleOp> &part : parts) {
    auto work = begin(*part, chip, backend);
    if (failed(work))
      return failure();
    works.push_back(std::move(*work));
  }
  std::vector<std::string> codes(parts.size()), problems(parts.size());
  forEachOnThreads(parts.size(), threads, [&](size_t i) {
    llvm::Expected<std::string> code = complete(std::move(works[i]), chip, backend, llvm::CodeGenFileType::AssemblyFile);
    if (code)
      codes[i] = std::move(*code);
    else
      problems[i] = llvm::toString(code.takeError());
  });
  for (auto [part, problem] : llvm::zip(parts, problems))
    if (!problem.empty())
      return emitError(locationOf(*part)) << problem;
  return codes;
}

} // namespace fla::gpu
