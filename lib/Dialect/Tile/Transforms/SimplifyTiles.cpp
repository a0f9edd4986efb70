//===- SimplifyTiles.cpp - less work for the same tiles -------------------===//
//
// What no chunk changes leaves the loop, sums with a product become its init,
// and masks of what loads as zero disappear:
//
//   scf.for %c { %t = tile.segsum %g ... }   ==>   %t = tile.segsum %g   scf.for %c { ... }
//   %p = tile.dot %a, %b ; arith.addf %x, %p ==>   tile.dot %a, %b init(%x)
//   arith.select %valid, %loaded, %zero      ==>   %loaded
//
// For examples see test/Dialect/Tile/Transforms/simplify-tiles.mlir.
//===----------------------------------------------------------------------===//
#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/LoopInvariantCodeMotionUtils.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace fla {
#define GEN_PASS_DEF_SIMPLIFYTILES
#include "fla/Dialect/Tile/Transforms/Passes.h.inc"
} // namespace fla

namespace {
/// addf(x, dot(a, b)) ==> dot(a, b) init(x), for a product that nothing else reads.
struct AddToProduct : OpRewritePattern<arith::AddFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::AddFOp add, PatternRewriter &rewriter) const override {
    for (auto [product, other] : {std::pair(add.getRhs(), add.getLhs()), std::pair(add.getLhs(), add.getRhs())}) {
      auto dot = product.getDefiningOp<fla::tile::DotOp>();
      bool masksResult = dot && dot.restrictsResult() && dot.getPairs() != fla::tile::Pairs::all;
      if (!dot || dot.getInit() || masksResult || !dot->hasOneUse() || dot->getBlock() != add->getBlock())
        continue;
      rewriter.replaceOpWithNewOp<fla::tile::DotOp>(add, dot.getType(), dot.getA(), dot.getB(), other, dot.getTransposeA(), dot.getTransposeB(),
                                                    dot.getPairs(), dot.getLevel());
      return success();
    }
    return failure();
  }
};

/// Rows past the end of the sequence load as zero: masking them again is idle.
struct DropMaskOfLoad : OpRewritePattern<arith::SelectOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::SelectOp select, PatternRewriter &rewriter) const override {
    auto load = select.getTrueValue().getDefiningOp<fla::tile::LoadOp>();
    Value mask = select.getCondition();
    if (auto rows = mask.getDefiningOp<fla::tile::BroadcastOp>(); rows && rows.getAxes() == ArrayRef<int64_t>{0})
      mask = rows.getValue();
    auto valid = mask.getDefiningOp<fla::tile::ValidOp>();
    bool sameChunk = load && valid && load.getBuffer().getType().getKind() == fla::tile::BufferKind::token && load.getChunk() == valid.getChunk();
    if (!sameChunk || !matchPattern(select.getFalseValue(), m_AnyZeroFloat()))
      return failure();
    rewriter.replaceOp(select, load);
    return success();
  }
};

struct SimplifyTiles : fla::impl::SimplifyTilesBase<SimplifyTiles> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<AddToProduct, DropMaskOfLoad>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    OpPassManager cleanup(ModuleOp::getOperationName());
    cleanup.addPass(createCanonicalizerPass());
    cleanup.addPass(createCSEPass());
    if (failed(runPipeline(cleanup, getOperation())))
      return signalPassFailure();
    getOperation().walk([](LoopLikeOpInterface loop) { moveLoopInvariantCode(loop); });
  }
};
} // namespace
