//===- SerializeDevice.cpp - one way in for both vendors ------------------===//
#include "fla/Target/AMD/AMD.h"
#include "fla/Target/NVIDIA/NVIDIA.h"

#include "llvm/IR/Module.h"
#include "llvm/Support/Format.h"

using namespace mlir;

namespace fla::gpu {

FailureOr<GPUCode> compileDevice(ModuleOp deviceForm, const Chip &chip, bool binary) {
  switch (chip.vendor) {
  case Vendor::NVIDIA:
    return nvidia::compileDevice(deviceForm, chip, binary);
  case Vendor::AMD:
    return amd::compileDevice(deviceForm, chip, binary);
  }
  llvm_unreachable("a chip of an unknown vendor");
}

FailureOr<std::unique_ptr<llvm::Module>> translateDeviceModule(ModuleOp deviceForm, const Chip &chip, llvm::LLVMContext &context) {
  const Backend &backend = chip.vendor == Vendor::NVIDIA ? nvidia::backend() : amd::backend();
  return translateDeviceModule(deviceForm, chip, backend, context);
}

static std::string known(int64_t value) { return value < 0 ? "-" : std::to_string(value); }

void printResources(llvm::ArrayRef<KernelResources> kernels, const Chip &chip, llvm::raw_ostream &os) {
  os << llvm::format("%-40s %-8s %8s %10s %10s %8s %8s %7s %10s\n", "kernel", "chip", "threads", "registers", "shared", "spills", "stack", "blocks",
                     "occupancy");
  for (const KernelResources &kernel : kernels) {
    Footprint footprint{kernel.threads, std::max<int64_t>(kernel.registers, 0), kernel.sharedBytes};
    os << llvm::format("%-40s %-8s %8lld %10s %10lld %8s %8s %7lld %9.0f%%\n", kernel.name.c_str(), chip.name.data(),
                       static_cast<long long>(kernel.threads), known(kernel.registers).c_str(), static_cast<long long>(kernel.sharedBytes),
                       known(kernel.spillBytes).c_str(), known(kernel.stackBytes).c_str(), static_cast<long long>(residentBlocks(chip, footprint)),
                       100 * occupancy(chip, footprint));
  }
}

} // namespace fla::gpu
