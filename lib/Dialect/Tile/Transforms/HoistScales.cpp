//===- HoistScales.cpp - products of what was loaded ----------------------===//
//
// A factor of an operand that is one number a row of the result (or a column of it,
// or one for all) scales the product instead, so that the operand is what was loaded:
//
//   %s = arith.mulf %k, %rows                      // %rows = tile.broadcast %beta [0]
//   %m = arith.select %inside, %s, %zero           // %inside: rows inside the sequence
//   %p = tile.dot %m, %state init(%v)
//   ==>
//   %d = tile.dot %k, %state
//   %p = arith.addf %v, (arith.mulf %d, %rows)
//
// The mask goes because %k is loaded as zero past the end of the sequence.
//
// For examples see test/Dialect/Tile/Transforms/hoist-scales.mlir.
//===----------------------------------------------------------------------===//
#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fla::tile;

namespace fla {
#define GEN_PASS_DEF_HOISTSCALES
#include "fla/Dialect/Tile/Transforms/Passes.h.inc"
} // namespace fla

//===----------------------------------------------------------------------===//
// Rows past the end of the sequence
//===----------------------------------------------------------------------===//

static std::optional<double> splatOf(Value value) {
  APFloat number(0.0);
  if (!matchPattern(value, m_ConstantFloat(&number)))
    return std::nullopt;
  bool loses;
  number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &loses);
  return number.convertToDouble();
}

static int64_t rows(Value value) {
  auto tensor = dyn_cast<RankedTensorType>(value.getType());
  return tensor && tensor.getRank() ? tensor.getDimSize(0) : 0;
}

/// Whether each row of the result is made of the same row of the operand.
static bool keepsRows(Operation *op) {
  if (auto broadcast = dyn_cast<BroadcastOp>(op))
    return !broadcast.getAxes().empty() && broadcast.getAxes()[0] == 0;
  if (auto reduce = dyn_cast<ReduceOp>(op))
    return reduce.getAxis() > 0;
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op))
    return rows(slice.getSource()) == rows(slice) && isConstantIntValue(slice.getMixedOffsets()[0], 0) &&
           slice.getSourceType().getRank() == slice.getType().getRank();
  return isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op) && rows(op->getOperand(0)) == rows(op->getResult(0));
}

static bool isPositive(Value value);

static bool isNonNegative(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || isPositive(value) || matchPattern(value, m_AnyZeroFloat()))
    return op;
  if (isa<arith::MulFOp>(op))
    return op->getOperand(0) == op->getOperand(1);
  if (isa<ReduceOp, BroadcastOp, math::SqrtOp>(op))
    return isNonNegative(op->getOperand(0));
  return isa<math::AbsFOp>(op);
}

/// Above zero wherever its operands are finite.
static bool isPositive(Value value) {
  if (auto number = splatOf(value))
    return *number > 0;
  Operation *op = value.getDefiningOp();
  if (!op)
    return false;
  if (isa<BroadcastOp, math::SqrtOp, math::RsqrtOp>(op))
    return isPositive(op->getOperand(0));
  if (isa<arith::AddFOp>(op))
    return (isPositive(op->getOperand(0)) && isNonNegative(op->getOperand(1))) || (isPositive(op->getOperand(1)) && isNonNegative(op->getOperand(0)));
  if (isa<arith::MaximumFOp>(op))
    return isPositive(op->getOperand(0)) || isPositive(op->getOperand(1));
  return isa<math::ExpOp>(op);
}

/// Whether rows past the end, made of zeros and of what a head has once, are finite.
static bool isFinite(Value value) {
  Operation *op = value.getDefiningOp();
  if (auto number = splatOf(value))
    return std::isfinite(*number);
  if (!op)
    return false;
  auto all = [&] { return llvm::all_of(op->getOperands(), isFinite); };
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case([](LoadOp load) {
        BufferKind kind = load.getBuffer().getType().getKind();
        return kind == BufferKind::token || kind == BufferKind::param || kind == BufferKind::value;
      })
      .Case<arith::MulFOp, arith::AddFOp, arith::SubFOp, arith::NegFOp, arith::MaximumFOp, arith::MinimumFOp, math::ExpOp, math::AbsFOp, math::SinOp,
            math::CosOp, math::TanhOp, BroadcastOp, ReduceOp, CumSumOp, tensor::ExtractSliceOp, tensor::CollapseShapeOp, tensor::ExpandShapeOp>(
          [&](auto) { return all(); })
      .Case([](arith::DivFOp div) { return isFinite(div.getLhs()) && isFinite(div.getRhs()) && isPositive(div.getRhs()); })
      .Case<math::RsqrtOp, math::LogOp>([](auto op) { return isFinite(op.getOperand()) && isPositive(op.getOperand()); })
      .Case<math::SqrtOp, math::Log1pOp>([](auto op) { return isFinite(op.getOperand()) && isNonNegative(op.getOperand()); })
      .Case([](arith::SelectOp select) { return isFinite(select.getTrueValue()) && isFinite(select.getFalseValue()); })
      .Default(false);
}

/// The chunk whose rows a mask marks, if `mask` is that of rows inside the sequence.
static Value chunkOfMask(Value mask) {
  if (auto broadcast = mask.getDefiningOp<BroadcastOp>(); broadcast && keepsRows(broadcast))
    mask = broadcast.getValue();
  auto valid = mask.getDefiningOp<ValidOp>();
  return valid ? valid.getChunk() : Value();
}

/// Whether the rows of a chunk that lie past the end of the sequence are zero.
static bool isZeroPastEnd(Value value, Value chunk) {
  Operation *op = value.getDefiningOp();
  if (!op || matchPattern(value, m_AnyZeroFloat()))
    return op;
  auto zero = [&](Value operand) { return isZeroPastEnd(operand, chunk); };
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case([&](LoadOp load) { return load.getBuffer().getType().getKind() == BufferKind::token && load.getChunk() == chunk; })
      .Case([&](arith::MulFOp mul) { return (zero(mul.getLhs()) && isFinite(mul.getRhs())) || (zero(mul.getRhs()) && isFinite(mul.getLhs())); })
      .Case([&](arith::DivFOp div) { return zero(div.getLhs()) && isFinite(div.getRhs()) && isPositive(div.getRhs()); })
      .Case<arith::AddFOp, arith::SubFOp, arith::NegFOp, math::AbsFOp, math::SinOp, math::TanhOp>(
          [&](auto) { return llvm::all_of(op->getOperands(), zero); })
      .Case([&](arith::SelectOp select) {
        bool masked = chunkOfMask(select.getCondition()) == chunk;
        return zero(select.getFalseValue()) && (masked || zero(select.getTrueValue()));
      })
      .Case<BroadcastOp, ReduceOp, tensor::ExtractSliceOp, tensor::CollapseShapeOp, tensor::ExpandShapeOp>(
          [&](auto) { return keepsRows(op) && zero(op->getOperand(0)); })
      .Default(false);
}

namespace {
/// select(inside, x, 0) ==> x, where x is zero past the end by itself.
struct DropIdleMask : OpRewritePattern<arith::SelectOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::SelectOp select, PatternRewriter &rewriter) const override {
    Value chunk = chunkOfMask(select.getCondition());
    if (!chunk || !matchPattern(select.getFalseValue(), m_AnyZeroFloat()) || !isZeroPastEnd(select.getTrueValue(), chunk))
      return rewriter.notifyMatchFailure(select, "rows past the end may differ from zero");
    rewriter.replaceOp(select, select.getTrueValue());
    return success();
  }
};
} // namespace

//===----------------------------------------------------------------------===//
// Factors
//===----------------------------------------------------------------------===//

namespace {
/// What scales an operand along its kept axis, and what is left of the operand.
struct Factors {
  SmallVector<Value> numbers; ///< one for all rows
  SmallVector<Value> vectors; ///< one a row
  SmallVector<Value> rest;
  bool negative = false;

  bool any() const { return negative || !numbers.empty() || !vectors.empty(); }
};
} // namespace

/// Whether a value is a scale along `axis`; what it scales by goes to `factors`.
static bool addScale(Value value, int64_t axis, Factors &factors) {
  if (splatOf(value) == -1.0)
    return factors.negative = !factors.negative, true;
  auto broadcast = value.getDefiningOp<BroadcastOp>();
  if (broadcast && broadcast.getAxes().empty() && splatOf(broadcast.getValue()) == -1.0)
    return factors.negative = !factors.negative, true;
  if (broadcast && broadcast.getAxes().empty())
    return factors.numbers.push_back(broadcast.getValue()), true;
  if (broadcast && broadcast.getAxes() == ArrayRef<int64_t>{axis})
    return factors.vectors.push_back(broadcast.getValue()), true;
  return false;
}

static void collect(Value value, int64_t axis, Factors &factors) {
  if (addScale(value, axis, factors))
    return;
  if (auto mul = value.getDefiningOp<arith::MulFOp>())
    return collect(mul.getLhs(), axis, factors), collect(mul.getRhs(), axis, factors);
  if (auto neg = value.getDefiningOp<arith::NegFOp>()) {
    factors.negative = !factors.negative;
    return collect(neg.getOperand(), axis, factors);
  }
  factors.rest.push_back(value);
}

/// The operand without its scales; null if it is nothing else.
static Value strip(PatternRewriter &rewriter, Value value, int64_t axis) {
  Factors ignored;
  if (addScale(value, axis, ignored))
    return {};
  if (auto neg = value.getDefiningOp<arith::NegFOp>())
    return strip(rewriter, neg.getOperand(), axis);
  auto mul = value.getDefiningOp<arith::MulFOp>();
  if (!mul)
    return value;
  Value left = strip(rewriter, mul.getLhs(), axis), right = strip(rewriter, mul.getRhs(), axis);
  if (!left || !right)
    return left ? left : right;
  bool same = left == mul.getLhs() && right == mul.getRhs();
  return same ? value : arith::MulFOp::create(rewriter, mul.getLoc(), left, right).getResult();
}

static bool isLoaded(Value value) {
  Operation *op = value.getDefiningOp();
  while (op && isa<tensor::ExtractSliceOp, tensor::CollapseShapeOp, tensor::ExpandShapeOp, TransposeOp>(op))
    op = op->getOperand(0).getDefiningOp();
  return op && isa<LoadOp>(op);
}

static int64_t elements(Value value) { return cast<RankedTensorType>(value.getType()).getNumElements(); }

/// What is left must be loaded, or be something loaded times other factors if the
/// product is no larger: a scale of what was computed had better stay where it is.
static bool pays(const Factors &factors, Value operand, Value result) {
  return factors.any() && llvm::any_of(factors.rest, isLoaded) && (factors.rest.size() == 1 || elements(result) <= elements(operand));
}

namespace {
/// dot(a * rows, b) + init ==> dot(a, b) * rows + init, and so for columns of b.
struct HoistScale : OpRewritePattern<DotOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(DotOp dot, PatternRewriter &rewriter) const override {
    int64_t keptOfA = dot.getTransposeA() ? 1 : 0, keptOfB = dot.getTransposeB() ? 0 : 1;
    Factors ofA, ofB;
    collect(dot.getA(), keptOfA, ofA);
    collect(dot.getB(), keptOfB, ofB);
    bool left = pays(ofA, dot.getA(), dot), right = pays(ofB, dot.getB(), dot);
    if (!left && !right)
      return rewriter.notifyMatchFailure(dot, "no factor that is cheaper behind the product");
    Value a = left ? strip(rewriter, dot.getA(), keptOfA) : dot.getA(), b = right ? strip(rewriter, dot.getB(), keptOfB) : dot.getB();
    Value product = DotOp::create(rewriter, dot.getLoc(), dot.getType(), a, b, /*init=*/Value(), dot.getTransposeA(), dot.getTransposeB(),
                                  dot.getPairs(), dot.getLevel());
    bool negative = (left && ofA.negative) != (right && ofB.negative);
    if (right)
      product = scale(rewriter, product, ofB, /*axis=*/1, negative);
    if (left)
      product = scale(rewriter, product, ofA, /*axis=*/0, negative);
    rewriter.replaceOp(dot, withInit(rewriter, dot, product, negative));
    return success();
  }

  /// One multiplication by all scales along an axis; takes the sign along where it can.
  static Value scale(PatternRewriter &rewriter, Value product, const Factors &factors, int64_t axis, bool &negative) {
    Location loc = product.getLoc();
    auto times = [&](Value x, Value y) { return x ? arith::MulFOp::create(rewriter, loc, x, y).getResult() : y; };
    Value number, vector;
    for (Value factor : factors.numbers)
      number = times(number, factor);
    for (Value factor : factors.vectors)
      vector = times(vector, factor);
    if (!number && !vector)
      return product;
    if (number && vector)
      vector = times(vector, BroadcastOp::create(rewriter, loc, vector.getType(), number, ArrayRef<int64_t>{}));
    Value all = vector ? vector : number;
    if (negative)
      all = arith::NegFOp::create(rewriter, loc, all);
    negative = false;
    SmallVector<int64_t, 1> axes;
    if (vector)
      axes.push_back(axis);
    return times(product, BroadcastOp::create(rewriter, loc, product.getType(), all, axes));
  }

  static Value withInit(PatternRewriter &rewriter, DotOp dot, Value product, bool negative) {
    if (!dot.getInit())
      return negative ? arith::NegFOp::create(rewriter, dot.getLoc(), product).getResult() : product;
    if (negative)
      return arith::SubFOp::create(rewriter, dot.getLoc(), dot.getInit(), product);
    return arith::AddFOp::create(rewriter, dot.getLoc(), dot.getInit(), product);
  }
};

/// What all rows, or each row, of a tile is multiplied by: a broadcast along at most one axis.
BroadcastOp scaleOf(Value value) {
  auto broadcast = value.getDefiningOp<BroadcastOp>();
  return broadcast && broadcast.getAxes().size() <= 1 && isa<FloatType>(getElementTypeOrSelf(value.getType())) ? broadcast : BroadcastOp();
}

/// (x * rows) * others ==> x * (rows * others), while both still are vectors.
struct JoinScales : OpRewritePattern<arith::MulFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::MulFOp mul, PatternRewriter &rewriter) const override {
    auto inner = mul.getLhs().getDefiningOp<arith::MulFOp>();
    BroadcastOp outer = scaleOf(mul.getRhs()), own = inner && inner->hasOneUse() ? scaleOf(inner.getRhs()) : BroadcastOp();
    if (!outer || !own || scaleOf(inner.getLhs()))
      return rewriter.notifyMatchFailure(mul, "expected a tile times two scales");
    bool along = !outer.getAxes().empty() && !own.getAxes().empty();
    if (along && outer.getAxes() != own.getAxes())
      return rewriter.notifyMatchFailure(mul, "scales along different axes");
    BroadcastOp wide = own.getAxes().empty() ? outer : own;
    auto fit = [&](Value factor) -> Value {
      Type type = wide.getValue().getType();
      return factor.getType() == type ? factor : BroadcastOp::create(rewriter, mul.getLoc(), type, factor, ArrayRef<int64_t>{}).getResult();
    };
    Value both = arith::MulFOp::create(rewriter, mul.getLoc(), fit(own.getValue()), fit(outer.getValue()));
    Value scale = BroadcastOp::create(rewriter, mul.getLoc(), mul.getType(), both, wide.getAxes());
    rewriter.replaceOpWithNewOp<arith::MulFOp>(mul, inner.getLhs(), scale);
    return success();
  }
};

/// x * s + y * s ==> (x + y) * s
struct ScaleSum : OpRewritePattern<arith::AddFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::AddFOp add, PatternRewriter &rewriter) const override {
    auto left = add.getLhs().getDefiningOp<arith::MulFOp>(), right = add.getRhs().getDefiningOp<arith::MulFOp>();
    if (!left || !right || !left->hasOneUse() || !right->hasOneUse() || !isSame(left.getRhs(), right.getRhs()))
      return rewriter.notifyMatchFailure(add, "expected a sum of two tiles with the same scale");
    Value sum = arith::AddFOp::create(rewriter, add.getLoc(), left.getLhs(), right.getLhs());
    rewriter.replaceOpWithNewOp<arith::MulFOp>(add, sum, left.getRhs());
    return success();
  }

  static bool isSame(Value a, Value b) {
    BroadcastOp x = scaleOf(a), y = scaleOf(b);
    return x && y && (a == b || (x.getValue() == y.getValue() && x.getAxes() == y.getAxes()));
  }
};

struct HoistScales : fla::impl::HoistScalesBase<HoistScales> {
  void runOnOperation() override {
    RewritePatternSet hoist(&getContext()), join(&getContext());
    hoist.add<DropIdleMask, HoistScale>(&getContext());
    join.add<JoinScales, ScaleSum>(&getContext());
    OpPassManager cleanup(ModuleOp::getOperationName());
    cleanup.addPass(createCanonicalizerPass());
    cleanup.addPass(createCSEPass());
    if (failed(applyPatternsGreedily(getOperation(), std::move(hoist))) || failed(runPipeline(cleanup, getOperation())) ||
        failed(applyPatternsGreedily(getOperation(), std::move(join))) || failed(runPipeline(cleanup, getOperation())))
      return signalPassFailure();
  }
};
} // namespace
