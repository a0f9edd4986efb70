//===- Serialize.cpp - device form to AMD's code objects ------------------===//
#include "fla/Target/AMD/AMD.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/ROCDLDialect.h"
#include "mlir/Target/LLVM/ROCDL/Utils.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/TargetSelect.h"

using namespace mlir;

namespace fla::amd {

/// Version 5 of the code object: what every ROCm since 5.5 loads.
static constexpr uint32_t kCodeObjectVersion = 500;

static void initialise() {
  LLVMInitializeAMDGPUTargetInfo();
  LLVMInitializeAMDGPUTarget();
  LLVMInitializeAMDGPUTargetMC();
  LLVMInitializeAMDGPUAsmPrinter();
}

/// Kernels are entries, and their blocks have exactly so many threads: the code
/// generator then knows how many registers a lane may take.
static void prepare(ModuleOp module, const gpu::Chip &) {
  Builder b(module.getContext());
  for (auto function : module.getOps<LLVM::LLVMFuncOp>()) {
    auto attribute = function->getAttrOfType<IntegerAttr>("fla.threads");
    if (!attribute)
      continue;
    auto threads = static_cast<int32_t>(attribute.getInt());
    function->setAttr(ROCDL::ROCDLDialect::getKernelFuncAttrName(), b.getUnitAttr());
    function->setAttr("rocdl.reqd_work_group_size", b.getDenseI32ArrayAttr({threads, 1, 1}));
    function->setAttr("rocdl.flat_work_group_size", b.getStringAttr(std::to_string(threads) + "," + std::to_string(threads)));
  }
}

static void addLowering(OpPassManager &) {}

/// LDS belongs to the module, so it is defined in it; nothing initialises it.
static void defineShared(llvm::Module &module) {
  for (llvm::GlobalVariable &global : module.globals()) {
    bool sized = module.getDataLayout().getTypeAllocSize(global.getValueType()) != 0;
    if (global.getAddressSpace() != 3 || !global.isDeclaration() || !sized)
      continue;
    global.setInitializer(llvm::PoisonValue::get(global.getValueType()));
    global.setLinkage(llvm::GlobalValue::InternalLinkage);
  }
}

static void finish(llvm::Module &module) {
  defineShared(module);
  module.addModuleFlag(llvm::Module::Error, "amdhsa_code_object_version", kCodeObjectVersion);
}

const gpu::Backend &backend() {
  // The attributor finds which implicit arguments no kernel uses.
  static constexpr gpu::Backend kBackend{"amdgcn-amd-amdhsa", ",amdgpu-attributor", initialise, prepare, addLowering, finish};
  return kBackend;
}

void readCodeObjectNotes(StringRef codeObject, std::vector<gpu::KernelResources> &kernels, MLIRContext *context) {
  Builder b(context);
  auto notes = ROCDL::getAMDHSAKernelsELFMetadata(b, llvm::ArrayRef(codeObject.data(), codeObject.size()));
  if (!notes)
    return;
  for (gpu::KernelResources &kernel : kernels) {
    auto found = notes->find(b.getStringAttr(kernel.name));
    if (found == notes->end())
      continue;
    auto number = [&](StringRef name) {
      auto value = llvm::dyn_cast_or_null<IntegerAttr>(found->second.get(name));
      return value ? value.getInt() : 0;
    };
    kernel.registers = number("vgpr_count");
    kernel.scalarRegisters = number("sgpr_count");
    kernel.sharedBytes = number("group_segment_fixed_size");
    kernel.stackBytes = number("private_segment_fixed_size");
    kernel.spillBytes = 4 * number("vgpr_spill_count");
  }
}

FailureOr<gpu::GPUCode> compileDevice(ModuleOp deviceForm, const gpu::Chip &chip, bool binary) {
  auto kernels = gpu::readKernels(deviceForm, chip);
  if (failed(kernels) || failed(checkInstructions(deviceForm, chip)))
    return failure();
  auto type = binary ? llvm::CodeGenFileType::ObjectFile : llvm::CodeGenFileType::AssemblyFile;
  FailureOr<std::string> code = gpu::emitDevice(deviceForm, chip, backend(), type);
  if (failed(code))
    return failure();
  if (!binary)
    return gpu::GPUCode{std::move(*code), "asm", std::move(*kernels)};
  FailureOr<std::string> linked = link(*code, gpu::locationOf(deviceForm));
  if (failed(linked))
    return failure();
  readCodeObjectNotes(*linked, *kernels, deviceForm.getContext());
  return gpu::GPUCode{std::move(*linked), "hsaco", std::move(*kernels)};
}

} // namespace fla::amd
