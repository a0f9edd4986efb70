//===- Compile.cpp - from tile kernels to code of a GPU -------------------===//
#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"
#include "fla/Target/GPU/GPU.h"
#include "fla/Target/GPU/Serialize.h"

#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace fla {
#define GEN_PASS_DEF_LAYOUTSOFCHIP
#include "fla/Target/GPU/Passes.h.inc"
} // namespace fla

namespace fla::gpu {

/// Threads of a block: what the registers of a chunk's tiles ask for.
static constexpr int64_t kThreads = 256;

std::string operandsOf(ModuleOp module) {
  for (auto kernel : module.getOps<tile::KernelOp>()) {
    if (auto given = kernel->getAttrOfType<TypeAttr>("operands")) { // by fla-fission-loops, from the undivided kernel
      if (given.getValue().isBF16() || given.getValue().isF16())
        return given.getValue().isBF16() ? "bf16" : "f16";
      continue;
    }
    for (BlockArgument arg : kernel.getBody().getArguments()) {
      auto buffer = cast<tile::BufferType>(arg.getType());
      if (buffer.getKind() != tile::BufferKind::token || buffer.getShape().empty())
        continue;
      Type type = buffer.getElementType();
      if (type.isBF16() || type.isF16())
        return type.isBF16() ? "bf16" : "f16";
      break;
    }
  }
  auto precision = module->getAttrOfType<StringAttr>("fla.precision");
  return precision && precision.getValue() == "tf32" ? "tf32" : "f32";
}

namespace {
struct LayoutsOfChip : impl::LayoutsOfChipBase<LayoutsOfChip> {
  using LayoutsOfChipBase::LayoutsOfChipBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    const Chip *found = findChip(chip);
    if (!found) {
      module.emitError() << "expected a chip (" << chipNames() << "), got '" << chip << "'";
      return signalPassFailure();
    }
    module->setAttr("fla.precision", StringAttr::get(&getContext(), precision));
    AssignLayoutsOptions layouts;
    layouts.lanes = found->lanes;
    layouts.warps = kThreads / found->lanes;
    AtomTexts atom = atomOf(*found, operandsOf(module), &getContext());
    layouts.accumulator = atom.accumulator, layouts.left = atom.left, layouts.right = atom.right;
    OpPassManager passes(ModuleOp::getOperationName());
    passes.addPass(createAssignStepLayouts({layouts.lanes, layouts.warps}));
    passes.addPass(createPadTiles());
    passes.addPass(createCSEPass());
    passes.addPass(createGroupChunks({/*span=*/4, kThreads, found->unitRegisters}));
    // The rest of the memory is left to what passes between threads.
    passes.addPass(createStageLoads({found->sharedBytes * 3 / 4, /*wide=*/operandsOf(module) == "tf32"}));
    passes.addPass(createAssignLayouts(layouts));
    passes.addPass(createCSEPass());
    passes.addPass(createShortenLives());
    if (failed(runPipeline(passes, module)))
      signalPassFailure();
  }
};
} // namespace

void buildLayoutPasses(OpPassManager &pm, StringRef chip, StringRef precision) {
  LayoutsOfChipOptions options;
  options.chip = chip.str();
  options.precision = precision.str();
  pm.addPass(createLayoutsOfChip(options));
}

void buildTargetPasses(OpPassManager &pm, StringRef chip) {
  const Chip *found = findChip(chip);
  ConvertTileToGPUOptions options;
  options.chip = chip.str();
  options.warps = kThreads / (found ? found->lanes : 32);
  pm.addPass(createConvertTileToGPU(options));
  pm.addPass(createCSEPass());
}

FailureOr<OwningOpRef<ModuleOp>> lowerToDeviceForm(ModuleOp module, StringRef chip) {
  OwningOpRef<ModuleOp> copy = module.clone();
  auto precision = module->getAttrOfType<StringAttr>("fla.precision");
  PassManager pm(module.getContext(), ModuleOp::getOperationName());
  buildLayoutPasses(pm, chip, precision ? precision.getValue() : "ieee");
  buildTargetPasses(pm, chip);
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
