//===- BodyConverter.cpp - operations of a chunk as tile operations -------===//
#include "BodyConverter.h"
#include "PairExpansion.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fla;

Value BodyConverter::spread(Value value, Type like) { return alg.broadcast(get(value), getDims(value), getDims(like)); }

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

static Value convertSigmoid(TileAlgebra &alg, Value x) {
  Value one = alg.splat(1.0, x.getType());
  return alg.div(one, alg.add(one, alg.exp(alg.neg(x))));
}

static Value log1p(TileAlgebra &alg, Value x) { return math::Log1pOp::create(alg.getBuilder(), alg.getLoc(), x); }
static Value absolute(TileAlgebra &alg, Value x) { return math::AbsFOp::create(alg.getBuilder(), alg.getLoc(), x); }

/// max(x, 0) + log1p(exp(-|x|))
static Value convertSoftplus(TileAlgebra &alg, Value x) {
  return alg.add(alg.maximum(x, alg.splat(0.0, x.getType())), log1p(alg, alg.exp(alg.neg(absolute(alg, x)))));
}

/// m + log1p(exp(-|a - b|)) with m the larger one; -inf if both are.
static Value convertLogAddExp(TileAlgebra &alg, Value a, Value b) {
  OpBuilder &builder = alg.getBuilder();
  Value m = alg.maximum(a, b);
  Value sum = alg.add(m, log1p(alg, alg.exp(alg.neg(absolute(alg, alg.sub(a, b))))));
  Value lowest = alg.splat(-std::numeric_limits<double>::infinity(), m.getType());
  Value isLowest = arith::CmpFOp::create(builder, alg.getLoc(), arith::CmpFPredicate::OEQ, m, lowest);
  return arith::SelectOp::create(builder, alg.getLoc(), isLowest, m, sum);
}

Value BodyConverter::convertElementwise(Operation *op) {
  if (isa<SigmoidOp>(op))
    return convertSigmoid(alg, get(op->getOperand(0)));
  if (isa<SoftplusOp>(op))
    return convertSoftplus(alg, get(op->getOperand(0)));
  if (isa<LogAddExpOp>(op))
    return convertLogAddExp(alg, get(op->getOperand(0)), get(op->getOperand(1)));
  if (isa<arith::AddFOp>(op))
    return alg.add(get(op->getOperand(0)), get(op->getOperand(1)));
  if (isa<arith::MulFOp>(op))
    return alg.mul(get(op->getOperand(0)), get(op->getOperand(1)));
  SmallVector<Value> operands = llvm::map_to_vector(op->getOperands(), [&](Value v) { return get(v); });
  // A comparison of scalars may choose between tensors; arith.select takes both.
  return alg.getBuilder().create(op->getLoc(), op->getName().getIdentifier(), operands, typeOf(op->getResult(0)), op->getAttrs())->getResult(0);
}

//===----------------------------------------------------------------------===//
// Products and reductions
//===----------------------------------------------------------------------===//

/// A contraction of two matrices over one dimension without batch dimensions.
Value BodyConverter::convertDot(ContractOp op) {
  auto a = getDims(op.getA()), b = getDims(op.getB()), c = getDims(op.getResult());
  if (a.size() != 2 || b.size() != 2 || c.size() != 2)
    return {};
  Value left = get(op.getA()), right = get(op.getB());
  if (!llvm::is_contained(a, c[0])) {
    std::swap(a, b);
    std::swap(left, right);
  }
  if (!llvm::is_contained(a, c[0]) || !llvm::is_contained(b, c[1]) || llvm::is_contained(b, c[0]) || llvm::is_contained(a, c[1]))
    return {};
  return alg.dot(left, right, {.transposeA = a[0] != c[0], .transposeB = b[1] != c[1]});
}

/// The general case: multiply over all dimensions, then sum.
Value BodyConverter::convertProductSum(ContractOp op) {
  SmallVector<StringAttr> dims(getDims(op.getResult()));
  for (Value operand : op.getOperands())
    for (StringAttr dim : getDims(operand))
      if (!llvm::is_contained(dims, dim))
        dims.push_back(dim);
  // The result's dimensions lead, so sums run over the last axes; operands may
  // need their axes swapped for that.
  auto aligned = [&](Value value) -> Value {
    Value tile = get(value);
    auto names = getDims(value);
    auto position = [&](StringAttr dim) { return std::distance(dims.begin(), llvm::find(dims, dim)); };
    if (names.size() == 2 && position(names[0]) > position(names[1])) {
      auto type = RankedTensorType::get({shapeOf(tile)[1], shapeOf(tile)[0]}, alg.getSizes().computeType);
      tile = tile::TransposeOp::create(alg.getBuilder(), op.getLoc(), type, tile);
      return alg.broadcast(tile, {names[1], names[0]}, dims);
    }
    return alg.broadcast(tile, names, dims);
  };
  auto isOrdered = [&](Value value) {
    auto names = getDims(value);
    return names.size() == 2 || llvm::is_sorted(names, [&](StringAttr x, StringAttr y) { return llvm::find(dims, x) < llvm::find(dims, y); });
  };
  if (!isOrdered(op.getA()) || !isOrdered(op.getB())) {
    // Order by the operand of highest rank instead and sum inner axes.
    Value largest = getDims(op.getA()).size() >= getDims(op.getB()).size() ? op.getA() : op.getB();
    dims.assign(getDims(largest).begin(), getDims(largest).end());
    Value other = largest == op.getA() ? op.getB() : op.getA();
    for (StringAttr dim : getDims(other))
      if (!llvm::is_contained(dims, dim))
        dims.push_back(dim);
  }
  Value product = alg.mul(aligned(op.getA()), aligned(op.getB()));
  for (int64_t axis = dims.size() - 1; axis >= 0; --axis)
    if (!llvm::is_contained(getDims(op.getResult()), dims[axis]))
      product = alg.reduce(tile::ReduceKind::add, product, axis);
  return product;
}

Value BodyConverter::convertContract(ContractOp op) {
  Value dot = convertDot(op);
  return dot ? dot : convertProductSum(op);
}

Value BodyConverter::convertReduction(Operation *op, tile::ReduceKind kind) {
  Value value = get(op->getOperand(0));
  auto dims = getDims(op->getOperand(0));
  for (int64_t axis = dims.size() - 1; axis >= 0; --axis)
    if (!llvm::is_contained(getDims(op->getResult(0)), dims[axis]))
      value = alg.reduce(kind, value, axis);
  return value;
}

Value BodyConverter::convertSoftmax(SoftmaxOp op) {
  auto dims = getDims(op.getResult());
  Value x = get(op.getValue());
  auto overLast = [&](tile::ReduceKind kind, Value value) {
    return alg.broadcast(alg.reduce(kind, value, dims.size() - 1), dims.drop_back(), dims);
  };
  Value e = alg.exp(alg.sub(x, overLast(tile::ReduceKind::max, x)));
  return alg.div(e, overLast(tile::ReduceKind::add, e));
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

/// `value` with an axis of size 1 at the end if it lacks the last dimension of `like`.
static SmallVector<int64_t> partShape(const TileSizes &sizes, Value part, Type like) {
  SmallVector<int64_t> shape = sizes.shape(getDims(part));
  if (shape.size() < getDims(like).size())
    shape.push_back(1);
  return shape;
}

Value BodyConverter::convertConcat(ConcatOp op) {
  Value all = alg.zeros(shapeOf(alg.splat(0.0, typeOf(op.getResult()))));
  int64_t rank = getDims(op.getResult()).size(), at = 0;
  for (Value part : op.getParts()) {
    Value tile = alg.reshape(get(part), partShape(alg.getSizes(), part, op.getType()));
    SmallVector<int64_t> offsets(rank, 0), strides(rank, 1);
    offsets.back() = at;
    all = alg.insert(tile, all, offsets, strides);
    at += shapeOf(tile).back();
  }
  return all;
}

void BodyConverter::convertSplit(SplitOp op) {
  Value value = get(op.getValue());
  int64_t rank = shapeOf(value).size(), at = 0;
  for (Value part : op.getParts()) {
    SmallVector<int64_t> extents = partShape(alg.getSizes(), part, op.getValue().getType());
    SmallVector<int64_t> offsets(rank, 0), strides(rank, 1);
    offsets.back() = at;
    at += extents.back();
    mapping.map(part, alg.reshape(alg.slice(value, offsets, extents, strides), alg.getSizes().shape(getDims(part))));
  }
}

namespace {
/// The even and the odd elements of the last axis.
struct Halves {
  Value even, odd;
};
} // namespace

static Halves unzip(TileAlgebra &alg, Value value) {
  SmallVector<int64_t> extents(shapeOf(value)), strides(extents.size(), 1), zero(extents.size(), 0), one(zero);
  extents.back() /= 2;
  strides.back() = 2;
  one.back() = 1;
  return {alg.slice(value, zero, extents, strides), alg.slice(value, one, extents, strides)};
}

static Value zip(TileAlgebra &alg, Halves halves, ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides(shape.size(), 1), zero(shape.size(), 0), one(zero);
  strides.back() = 2;
  one.back() = 1;
  return alg.insert(halves.odd, alg.insert(halves.even, alg.zeros(shape), zero, strides), one, strides);
}

Value BodyConverter::convertRotate(RotateOp op) {
  Halves x = unzip(alg, get(op.getValue()));
  Value angle = get(op.getAngle());
  Value c = math::CosOp::create(alg.getBuilder(), op.getLoc(), angle), s = math::SinOp::create(alg.getBuilder(), op.getLoc(), angle);
  Halves r{alg.sub(alg.mul(x.even, c), alg.mul(x.odd, s)), alg.add(alg.mul(x.even, s), alg.mul(x.odd, c))};
  return zip(alg, r, shapeOf(get(op.getValue())));
}

Value BodyConverter::convertRotateGrad(RotateGradOp op) {
  Halves d = unzip(alg, get(op.getGradient())), r = unzip(alg, get(op.getRotated()));
  return alg.sub(alg.mul(d.odd, r.even), alg.mul(d.even, r.odd));
}

/// Axis of `whole` that `part` lacks.
static int64_t missingAxis(Value whole, Value part) {
  for (auto [axis, dim] : llvm::enumerate(getDims(whole)))
    if (!hasDim(part.getType(), dim.getValue()))
      return axis;
  return 0;
}

Value BodyConverter::convertIndex(IndexOp op) {
  Value value = get(op.getValue());
  int64_t axis = missingAxis(op.getValue(), op.getResult()), rank = shapeOf(value).size();
  SmallVector<int64_t> offsets(rank, 0), extents(shapeOf(value)), strides(rank, 1);
  offsets[axis] = op.getPosition();
  extents[axis] = 1;
  Value part = alg.slice(value, offsets, extents, strides);
  SmallVector<int64_t> shape = alg.getSizes().shape(getDims(op.getResult()));
  if (shape.empty())
    return alg.reduce(tile::ReduceKind::add, part, 0);
  return alg.reshape(part, shape);
}

Value BodyConverter::convertPlace(PlaceOp op) {
  SmallVector<int64_t> shape = alg.getSizes().shape(getDims(op.getResult()));
  int64_t axis = missingAxis(op.getResult(), op.getValue());
  SmallVector<int64_t> offsets(shape.size(), 0), strides(shape.size(), 1), part(shape);
  offsets[axis] = op.getPosition();
  part[axis] = 1;
  return alg.insert(alg.reshape(get(op.getValue()), part), alg.zeros(shape), offsets, strides);
}

Value BodyConverter::convertValue(Operation *op) {
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case<arith::ConstantOp>([&](arith::ConstantOp c) { return alg.splat(cast<FloatAttr>(c.getValue()).getValueAsDouble(), typeOf(c)); })
      .Case<fla::BroadcastOp>([&](fla::BroadcastOp b) { return spread(b.getValue(), b.getType()); })
      .Case<ScaleOp>([&](ScaleOp s) { return alg.mul(get(s.getValue()), spread(s.getFactor(), s.getType())); })
      .Case<ContractOp>([&](ContractOp c) { return convertContract(c); })
      .Case<SumOp>([&](auto) { return convertReduction(op, tile::ReduceKind::add); })
      .Case<MaxOp>([&](auto) { return convertReduction(op, tile::ReduceKind::max); })
      .Case<SoftmaxOp>([&](SoftmaxOp s) { return convertSoftmax(s); })
      .Case<ConcatOp>([&](ConcatOp c) { return convertConcat(c); })
      .Case<FlattenOp, UnflattenOp>([&](auto) { return alg.reshape(get(op->getOperand(0)), alg.getSizes().shape(getDims(op->getResult(0)))); })
      .Case<RenameOp>([&](RenameOp r) { return get(r.getValue()); })
      .Case<RotateOp>([&](RotateOp r) { return convertRotate(r); })
      .Case<RotateGradOp>([&](RotateGradOp r) { return convertRotateGrad(r); })
      .Case<IndexOp>([&](IndexOp i) { return convertIndex(i); })
      .Case<PlaceOp>([&](PlaceOp p) { return convertPlace(p); })
      .Default([](Operation *) { return Value(); });
}

//===----------------------------------------------------------------------===//
// Chunk operations
//===----------------------------------------------------------------------===//

Value BodyConverter::gateRows(Value gate) {
  if (!gate)
    return {};
  SmallVector<StringAttr> dims{StringAttr::get(gate.getContext(), kTokens)};
  for (StringAttr dim : getDims(gate))
    if (dim.getValue() != kTokens)
      dims.push_back(dim);
  return alg.broadcast(get(gate), getDims(gate), dims);
}

Value BodyConverter::convertPairs(Operation *op) {
  auto expand = [&](auto pair) { return PairExpansion(alg, gateRows(pair.getGate()), pair.getPre(), pair.getStrict()); };
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case<chunk::ScoreOp>([&](chunk::ScoreOp s) { return expand(s).score(get(s.getB()), get(s.getX())); })
      .Case<chunk::ApplyOp>([&](chunk::ApplyOp a) { return expand(a).apply(get(a.getP()), get(a.getX())); })
      .Case<chunk::ApplyTransposedOp>([&](chunk::ApplyTransposedOp a) { return expand(a).applyTransposed(get(a.getP()), get(a.getB())); })
      .Case<chunk::GateGradOp>([&](chunk::GateGradOp g) {
        Value grad = expand(g).gateGrad(get(g.getP()), get(g.getB()), get(g.getX()));
        return hasDim(g.getGate().getType(), kTokens) ? grad : alg.reduce(tile::ReduceKind::add, grad, 0);
      })
      .Default([](Operation *) { return Value(); });
}

Value BodyConverter::convertPad(chunk::PadOp op) {
  Value value = get(op.getValue());
  if (alg.getSizes().chunk == 1)
    return value;
  OpBuilder &builder = alg.getBuilder();
  auto shape = shapeOf(value);
  Value valid = tile::ValidOp::create(builder, op.getLoc(), RankedTensorType::get({shape[0]}, builder.getI1Type()), chunkIndex);
  if (shape.size() > 1)
    valid = alg.alongRows(valid, RankedTensorType::get(shape, builder.getI1Type()));
  return arith::SelectOp::create(builder, op.getLoc(), valid, value, alg.splat(op.getNeutral().convertToDouble(), value.getType()));
}

void BodyConverter::convertSolve(chunk::SolveOp op) {
  auto tiles = [&](ValueRange values) { return llvm::map_to_vector(values, [&](Value v) { return get(v); }); };
  auto results = expandSolve(alg, tiles(op.getScores()), tiles(op.getRows()), gateRows(op.getGate()), op.getTransposed());
  for (auto [from, to] : llvm::zip(op.getResults(), results))
    mapping.map(from, to);
}

void BodyConverter::convertScan(chunk::ScanOp op) {
  auto scan = tile::ScanOp::create(alg.getBuilder(), op.getLoc(), op.getKind(), get(op.getInitial()), get(op.getDecay()), get(op.getInput()));
  for (auto [from, to] : llvm::zip(op->getResults(), scan->getResults()))
    mapping.map(from, to);
}

void BodyConverter::convertScanGrad(chunk::ScanGradOp op) {
  auto grad = tile::ScanGradOp::create(alg.getBuilder(), op.getLoc(), op.getKind(), get(op.getDecay()), get(op.getInput()), get(op.getPrev()),
                                       get(op.getNext()), get(op.getDPrev()), get(op.getDNext()), get(op.getDLast()));
  for (auto [from, to] : llvm::zip(op->getResults(), grad->getResults()))
    mapping.map(from, to);
}

LogicalResult BodyConverter::convert(Operation *op) {
  alg.setLoc(op->getLoc());
  if (auto solve = dyn_cast<chunk::SolveOp>(op))
    return convertSolve(solve), success();
  if (auto scan = dyn_cast<chunk::ScanOp>(op))
    return convertScan(scan), success();
  if (auto grad = dyn_cast<chunk::ScanGradOp>(op))
    return convertScanGrad(grad), success();
  if (auto split = dyn_cast<SplitOp>(op))
    return convertSplit(split), success();
  Value result;
  if (isElementwise(op))
    result = convertElementwise(op);
  else if (auto pad = dyn_cast<chunk::PadOp>(op))
    result = convertPad(pad);
  else if (auto sum = dyn_cast<chunk::CumSumOp>(op))
    result = alg.getSizes().chunk == 1
                 ? (sum.getExclusive() ? alg.splat(0.0, typeOf(sum)) : get(sum.getValue()))
                 : tile::CumSumOp::create(alg.getBuilder(), op->getLoc(), get(sum.getValue()), sum.getReverse(), sum.getExclusive()).getResult();
  else
    result = isa_and_nonnull<chunk::ChunkDialect>(op->getDialect()) ? convertPairs(op) : convertValue(op);
  if (!result)
    return op->emitOpError("has no form in the tile dialect");
  mapping.map(op->getResult(0), result);
  return success();
}
