//===- SimplifyTiles.cpp - what no chunk changes leaves the loop ----------===//
//
//   scf.for %c { %t = tile.segsum %g ... }   ==>   %t = tile.segsum %g   scf.for %c { ... }
//
// For examples see test/Dialect/Tile/Transforms/simplify-tiles.mlir.
//===----------------------------------------------------------------------===//
#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/LoopInvariantCodeMotionUtils.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace fla {
#define GEN_PASS_DEF_SIMPLIFYTILES
#include "fla/Dialect/Tile/Transforms/Passes.h.inc"
} // namespace fla

namespace {
struct SimplifyTiles : fla::impl::SimplifyTilesBase<SimplifyTiles> {
  void runOnOperation() override {
    OpPassManager cleanup(ModuleOp::getOperationName());
    cleanup.addPass(createCanonicalizerPass());
    cleanup.addPass(createCSEPass());
    if (failed(runPipeline(cleanup, getOperation())))
      return signalPassFailure();
    getOperation().walk([](LoopLikeOpInterface loop) { moveLoopInvariantCode(loop); });
  }
};
} // namespace
