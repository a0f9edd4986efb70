//===- Compile.cpp - from tile kernels to code of a GPU -------------------===//
#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"
#include "fla/Target/GPU/GPU.h"
#include "fla/Target/GPU/Serialize.h"

#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace fla::gpu {

/// Threads of a block: what the registers of a chunk's tiles ask for.
static constexpr int64_t kThreads = 256;

std::string operandsOf(ModuleOp module) {
  for (auto kernel : module.getOps<tile::KernelOp>())
    for (BlockArgument arg : kernel.getBody().getArguments()) {
      auto buffer = cast<tile::BufferType>(arg.getType());
      if (buffer.getKind() != tile::BufferKind::token || buffer.getShape().empty())
        continue;
      Type type = buffer.getElementType();
      if (type.isBF16() || type.isF16())
        return type.isBF16() ? "bf16" : "f16";
      break;
    }
  auto precision = module->getAttrOfType<StringAttr>("fla.precision");
  return precision && precision.getValue() == "tf32" ? "tf32" : "f32";
}

void buildLayoutPasses(OpPassManager &pm, const Chip &chip, StringRef multiply, MLIRContext *context) {
  AssignLayoutsOptions layouts;
  layouts.lanes = chip.lanes;
  layouts.warps = kThreads / chip.lanes;
  layouts.accumulator = accumulatorOf(chip, multiply, context);
  pm.addPass(createAssignLayouts(layouts));
  pm.addPass(createCSEPass());
}

void buildTargetPasses(OpPassManager &pm, const Chip &chip, StringRef multiply) {
  ConvertTileToGPUOptions convert;
  convert.chip = chip.name.str();
  convert.warps = kThreads / chip.lanes;
  convert.multiply = multiply.str();
  pm.addPass(createConvertTileToGPU(convert));
  pm.addPass(createCSEPass());
}

FailureOr<OwningOpRef<ModuleOp>> lowerToDeviceForm(ModuleOp module, StringRef chipName) {
  const Chip *chip = findChip(chipName);
  if (!chip)
    return module.emitError() << "expected a chip (" << chipNames() << "), got '" << chipName << "'", failure();
  OwningOpRef<ModuleOp> copy = module.clone();
  std::string multiply = operandsOf(module);
  PassManager pm(module.getContext(), ModuleOp::getOperationName());
  buildLayoutPasses(pm, *chip, multiply, module.getContext());
  buildTargetPasses(pm, *chip, multiply);
  if (failed(pm.run(*copy)))
    return failure();
  return copy;
}

FailureOr<DeviceCode> compileToDevice(ModuleOp module, StringRef chipName) {
  auto device = lowerToDeviceForm(module, chipName);
  if (failed(device))
    return failure();
  const Chip *chip = findChip(chipName);
  // Drivers compile PTX themselves, so NVIDIA's toolkit is not needed.
  auto code = compileDevice(**device, *chip, /*binary=*/chip->vendor == Vendor::AMD);
  if (failed(code))
    return failure();
  DeviceCode result;
  result.format = code->format;
  result.bytes = std::move(code->code);
  for (const KernelResources &kernel : code->kernels)
    result.kernels.push_back({kernel.name, kernel.threads, kernel.dynamicSharedBytes, kernel.chunk, kernel.blocks, kernel.overChunks});
  return result;
}

} // namespace fla::gpu
