//===- Serialize.cpp - device form to PTX and cubins ----------------------===//
#include "fla/Target/NVIDIA/NVIDIA.h"

#include "mlir/Conversion/NVVMToLLVM/NVVMToLLVM.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/TargetSelect.h"

using namespace mlir;

namespace fla::nvidia {

/// Addresses in shared memory take one register, not two. LLVM has this only as an
/// option of the process, which lld resets: it is set for each target machine anew.
static void useShortPointers() {
  auto &options = llvm::cl::getRegisteredOptions();
  if (auto option = options.find("nvptx-short-ptr"); option != options.end())
    static_cast<llvm::cl::opt<bool> *>(option->second)->setValue(true);
}

static void initialise() {
  useShortPointers();
  LLVMInitializeNVPTXTargetInfo();
  LLVMInitializeNVPTXTarget();
  LLVMInitializeNVPTXTargetMC();
  LLVMInitializeNVPTXAsmPrinter();
}

/// Kernels are entries, and their blocks have exactly so many threads: ptxas then
/// knows how many registers a thread may take. So many
/// blocks a multiprocessor as the lowering asks for will do: without that ptxas may aim at
/// more, with as few as 32 registers and everything else in memory.
static void prepare(ModuleOp module, const gpu::Chip &) {
  Builder b(module.getContext());
  for (auto function : module.getOps<LLVM::LLVMFuncOp>()) {
    auto threads = function->getAttrOfType<IntegerAttr>("fla.threads");
    if (!threads)
      continue;
    function->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), b.getUnitAttr());
    function->setAttr(NVVM::NVVMDialect::getReqntidAttrName(), b.getDenseI32ArrayAttr({static_cast<int32_t>(threads.getInt()), 1, 1}));
    auto resident = function->getAttrOfType<IntegerAttr>("fla.resident");
    function->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(), b.getI32IntegerAttr(resident ? resident.getInt() : 1));
    // Exponentials and the like without a detour for numbers below 1e-38, which become zero.
    function->setAttr("denormal_fp_math_f32", b.getStringAttr("preserve-sign,preserve-sign"));
  }
}

static void addLowering(OpPassManager &pm) { pm.addPass(createConvertNVVMToLLVMPass()); }

static void finish(llvm::Module &) {}

const gpu::Backend &backend() {
  static constexpr gpu::Backend kBackend{"nvptx64-nvidia-cuda", "", initialise, prepare, addLowering, finish};
  return kBackend;
}

FailureOr<gpu::GPUCode> compileDevice(ModuleOp deviceForm, const gpu::Chip &chip, bool binary) {
  auto kernels = gpu::readKernels(deviceForm, chip);
  if (failed(kernels))
    return failure();
  FailureOr<std::string> ptx = gpu::emitDevice(deviceForm, chip, backend(), llvm::CodeGenFileType::AssemblyFile);
  if (failed(ptx))
    return failure();
  if (!binary)
    return gpu::GPUCode{std::move(*ptx), "ptx", std::move(*kernels)};
  FailureOr<std::string> cubin = assemble(*ptx, chip, *kernels, gpu::locationOf(deviceForm));
  if (failed(cubin))
    return failure();
  return gpu::GPUCode{std::move(*cubin), "cubin", std::move(*kernels)};
}

} // namespace fla::nvidia
