//===- SimplifyTiles.cpp - less work for the same tiles -------------------===//
//
// What no chunk changes leaves the loop, sums with a product become its init,
// and masks of what loads as zero disappear:
//
//   scf.for %c { %t = tile.segsum %g ... }   ==>   %t = tile.segsum %g   scf.for %c { ... }
//   %p = tile.dot %a, %b ; arith.addf %x, %p ==>   tile.dot %a, %b init(%x)
//   arith.select %valid, %loaded, %zero      ==>   %loaded
//   mulf (dot pairs(strict)), exp(segsum strict)  ==>  mulf (dot pairs(strict)), exp(segsum), if segsum is there
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

/// A matrix of pairs of tokens without a token's pair with itself.
bool isZeroOnDiagonal(Value value) {
  if (auto product = value.getDefiningOp<arith::MulFOp>())
    return isZeroOnDiagonal(product.getLhs()) || isZeroOnDiagonal(product.getRhs());
  auto dot = value.getDefiningOp<fla::tile::DotOp>();
  return dot && dot.getPairs() == fla::tile::Pairs::strict && dot.restrictsResult();
}

/// exp(segsum strict) where it scales what is zero on the diagonal: the same as exp(segsum), if that is there, too.
struct DropStrictOfDecay : OpRewritePattern<fla::tile::SegSumOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(fla::tile::SegSumOp sum, PatternRewriter &rewriter) const override {
    auto isOther = [&](Operation *user) {
      auto other = dyn_cast<fla::tile::SegSumOp>(user);
      return other && !other.getStrict() && !other.getPre();
    };
    if (!sum.getStrict() || sum.getPre() || llvm::none_of(sum.getGate().getUsers(), isOther))
      return failure();
    for (Operation *decay : sum->getUsers()) {
      if (!isa<math::ExpOp, math::Exp2Op>(decay))
        return failure();
      for (Operation *user : decay->getUsers()) {
        auto product = dyn_cast<arith::MulFOp>(user);
        if (!product || !isZeroOnDiagonal(product.getLhs() == decay->getResult(0) ? product.getRhs() : product.getLhs()))
          return failure();
      }
    }
    rewriter.modifyOpInPlace(sum, [&] { sum.setStrict(false); });
    return success();
  }
};

struct SimplifyTiles : fla::impl::SimplifyTilesBase<SimplifyTiles> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<AddToProduct, DropMaskOfLoad, DropStrictOfDecay>(&getContext());
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
