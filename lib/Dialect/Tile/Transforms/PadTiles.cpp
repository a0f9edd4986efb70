//===- PadTiles.cpp - tiles whose axes are powers of two ------------------===//
//
//   %k = tile.load %pk[%c] : <token, 100xbf16> -> tensor<64x100xf32>
//   %e = math.exp %k : tensor<64x100xf32>
//   %s = tile.reduce add %e axis 1 : tensor<64x100xf32> -> tensor<64xf32>
//   ==> every axis grows to a power of two; what was added is cleared where it would count
//   %k = tile.load %pk[%c] : <token, 100xbf16> -> tensor<64x128xf32>           // zero beyond 100
//   %e = math.exp %k : tensor<64x128xf32>                                      // one beyond 100
//   %i = tile.inside [64, 100] : tensor<64x128xi1>
//   %m = arith.select %i, %e, %zero : tensor<64x128xi1>, tensor<64x128xf32>
//   %s = tile.reduce add %m axis 1 : tensor<64x128xf32> -> tensor<64xf32>
//
// For examples see test/Dialect/Tile/Transforms/pad-tiles.mlir.
//===----------------------------------------------------------------------===//
#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace fla::tile;

namespace fla {
#define GEN_PASS_DEF_PADTILES
#include "fla/Dialect/Tile/Transforms/Passes.h.inc"
} // namespace fla

namespace {

using Sizes = SmallVector<int64_t>;
/// What stands in every element that padding added, where that is one known number.
using Fill = std::optional<double>;

Sizes shapeOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? Sizes(tensor.getShape()) : Sizes();
}
Sizes widen(Sizes sizes) {
  for (int64_t &size : sizes)
    size = llvm::PowerOf2Ceil(size);
  return sizes;
}
Type padded(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? Type(tensor.clone(widen(shapeOf(type)))) : type;
}

/// A tensor whose elements all are `value`.
TypedAttr splat(Type type, double value) {
  auto tensor = cast<RankedTensorType>(type);
  if (tensor.getElementType().isInteger(1))
    return DenseElementsAttr::get(tensor, ArrayRef<bool>{value != 0});
  return DenseElementsAttr::get(tensor, FloatAttr::get(tensor.getElementType(), value).getValue());
}
Fill numberOf(Attribute attr) {
  if (auto dense = dyn_cast_or_null<DenseElementsAttr>(attr))
    attr = dense.isSplat() ? dense.getSplatValue<Attribute>() : Attribute();
  if (auto number = dyn_cast_or_null<FloatAttr>(attr))
    return number.getValueAsDouble();
  if (auto truth = dyn_cast_or_null<IntegerAttr>(attr); truth && truth.getType().isInteger(1))
    return truth.getValue().isZero() ? 0.0 : 1.0;
  return std::nullopt;
}
Fill constantOf(Value value) {
  Attribute attr;
  return matchPattern(value, m_Constant(&attr)) ? numberOf(attr) : std::nullopt;
}

/// Rewrites one kernel, operation by operation in order.
class Padder {
public:
  explicit Padder(MLIRContext *context) : builder(context) {}

  LogicalResult run(KernelOp kernel) {
    if (!llvm::isPowerOf2_64(kernel.getChunk()))
      return kernel.emitError() << "expected a chunk of a power of two of tokens, got " << kernel.getChunk();
    return block(kernel.getBody().front());
  }

private:
  // What is known of a value: its extent before padding, and what was added.
  Sizes extentOf(Value value) { return extents.lookup(value); }
  bool isPadded(Value value) { return extentOf(value) != shapeOf(value.getType()); }
  bool isPadded(Value value, int64_t axis) { return extentOf(value)[axis] != shapeOf(value.getType())[axis]; }
  /// What was added is `number`, or nothing was.
  bool holds(Value value, double number) { return !isPadded(value) || fills.lookup(value) == number; }

  void widenResult(Value value) {
    extents[value] = shapeOf(value.getType());
    value.setType(padded(value.getType()));
  }
  void replace(Operation *op, Value by, Fill fill) {
    extents[by] = extentOf(op->getResult(0));
    fills[by] = fill;
    op->getResult(0).replaceAllUsesWith(by);
    op->erase();
  }

  Value constant(Location loc, Type type, double number) { return arith::ConstantOp::create(builder, loc, splat(type, number)); }
  Value inside(Location loc, ArrayRef<int64_t> bounds, Type type) {
    return InsideOp::create(builder, loc, cast<RankedTensorType>(type).clone(builder.getI1Type()), bounds);
  }
  /// The value with `number` in all that was added.
  Value cleared(Value value, double number) {
    if (holds(value, number))
      return value;
    auto [it, isNew] = clear.try_emplace({value, std::signbit(number)});
    if (!isNew)
      return it->second;
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointAfterValue(value);
    Value box = inside(value.getLoc(), extentOf(value), value.getType());
    Value result = arith::SelectOp::create(builder, value.getLoc(), box, value, constant(value.getLoc(), value.getType(), number));
    extents[result] = extentOf(value);
    fills[result] = number;
    return clear[{value, std::signbit(number)}] = result;
  }
  void clearOperand(OpOperand &operand, double number = 0) { operand.set(cleared(operand.get(), number)); }

  LogicalResult block(Block &body);
  LogicalResult operation(Operation *op);
  LogicalResult loop(scf::ForOp op);
  LogicalResult constant(arith::ConstantOp op);
  LogicalResult elementwise(Operation *op);
  LogicalResult broadcast(BroadcastOp op);
  LogicalResult reduce(ReduceOp op);
  LogicalResult dot(DotOp op);
  LogicalResult alongTokens(Operation *op);
  LogicalResult reshape(Operation *op, ArrayRef<ReassociationIndices> groups, ArrayRef<int64_t> apart);
  LogicalResult extractSlice(tensor::ExtractSliceOp op);
  LogicalResult insertSlice(tensor::InsertSliceOp op);
  Value resized(Value value, const Sizes &shape);

  OpBuilder builder;
  DenseMap<Value, Sizes> extents;
  DenseMap<Value, Fill> fills;
  DenseMap<std::pair<Value, int>, Value> clear; ///< by value and sign of what it was cleared with
};

//===----------------------------------------------------------------------===//
// Structure
//===----------------------------------------------------------------------===//

LogicalResult Padder::block(Block &body) {
  for (Operation &op : llvm::make_early_inc_range(body)) {
    builder.setInsertionPoint(&op);
    if (failed(operation(&op)))
      return failure();
  }
  return success();
}

/// What a carry's padding holds before the loop it holds after each turn.
LogicalResult Padder::loop(scf::ForOp op) {
  for (auto [init, arg, result] : llvm::zip_equal(op.getInitArgs(), op.getRegionIterArgs(), op.getResults()))
    for (Value value : {Value(arg), Value(result)}) {
      widenResult(value);
      fills[value] = fills.lookup(init);
    }
  if (failed(block(*op.getBody())))
    return failure();
  for (auto [yielded, arg] : llvm::zip_equal(op.getYieldedValuesMutable().value(), op.getRegionIterArgs()))
    if (Fill fill = fills.lookup(arg); fill && isPadded(arg))
      clearOperand(yielded, *fill);
  return success();
}

LogicalResult Padder::operation(Operation *op) {
  if (auto nested = dyn_cast<scf::ForOp>(op))
    return loop(nested);
  for (Value result : op->getResults())
    widenResult(result);
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](arith::ConstantOp x) { return constant(x); })
      .Case([&](LoadOp x) {
        fills[x.getResult()] = x.getAbsent().isZero() ? Fill(0.0) : std::nullopt;
        return success();
      })
      .Case<StoreOp, ReturnOp, NumChunksOp, ChunkIdOp, ValidOp, scf::YieldOp>([](auto) { return success(); })
      .Case([&](BroadcastOp x) { return broadcast(x); })
      .Case([&](ReduceOp x) { return reduce(x); })
      .Case([&](TransposeOp x) {
        fills[x.getResult()] = fills.lookup(x.getValue());
        return success();
      })
      .Case([&](DotOp x) { return dot(x); })
      .Case([&](InverseOp x) { // rows that were added only read rows above them, but must be finite
        clearOperand(x.getValueMutable());
        return success();
      })
      .Case<CumSumOp, SegSumOp, SegSumGradOp, LevelDecayOp, LevelDecayGradOp, ScanOp, ScanGradOp>([&](auto x) { return alongTokens(x); })
      .Case([&](tensor::ExtractSliceOp x) { return extractSlice(x); })
      .Case([&](tensor::InsertSliceOp x) { return insertSlice(x); })
      .Case([&](tensor::ExpandShapeOp x) { return reshape(x, x.getReassociationIndices(), extentOf(x)); })
      .Case([&](tensor::CollapseShapeOp x) { return reshape(x, x.getReassociationIndices(), extentOf(x.getSrc())); })
      .Default([&](Operation *x) { return elementwise(x); });
}

LogicalResult Padder::constant(arith::ConstantOp op) {
  auto dense = dyn_cast<DenseElementsAttr>(op.getValue());
  if (!dense)
    return success();
  auto type = cast<RankedTensorType>(op.getType());
  if (Fill number = numberOf(dense)) {
    fills[op] = number;
    op.setValueAttr(dense.resizeSplat(type));
    return success();
  }
  if (type == dense.getType())
    return success();
  // A table: its numbers where they were, zero beyond.
  SmallVector<Attribute> table(type.getNumElements(), builder.getZeroAttr(type.getElementType()));
  Sizes from = extentOf(op);
  for (auto [i, number] : llvm::enumerate(dense.getValues<Attribute>())) {
    int64_t at = 0, stride = 1, rest = i;
    for (int64_t axis = from.size() - 1; axis >= 0; --axis) {
      at += rest % from[axis] * stride;
      rest /= from[axis];
      stride *= type.getDimSize(axis);
    }
    table[at] = number;
  }
  fills[op] = 0.0;
  op.setValueAttr(DenseElementsAttr::get(type, table));
  return success();
}

/// Folds the operation on what the operands' padding holds.
LogicalResult Padder::elementwise(Operation *op) {
  if (op->getNumResults() != 1 || op->getNumRegions() || !isa<arith::ArithDialect, math::MathDialect>(op->getDialect())) {
    bool touches =
        llvm::any_of(op->getResults(), [&](Value x) { return isPadded(x); }) || llvm::any_of(op->getOperands(), [&](Value x) { return isPadded(x); });
    return touches ? op->emitOpError("expected sizes that are powers of two in a kernel for a GPU") : success();
  }
  if (!isPadded(op->getResult(0)))
    return success();
  SmallVector<Attribute> known;
  for (Value operand : op->getOperands()) {
    Fill fill = isPadded(operand) ? fills.lookup(operand) : std::nullopt;
    known.push_back(fill ? Attribute(splat(operand.getType(), *fill)) : Attribute());
  }
  SmallVector<OpFoldResult> folded;
  Operation *probe = op->clone();
  if (succeeded(probe->fold(known, folded)) && folded.size() == 1) {
    auto attr = dyn_cast<Attribute>(folded[0]);
    fills[op->getResult(0)] = attr ? numberOf(attr) : fills.lookup(cast<Value>(folded[0]));
  }
  probe->destroy();
  return success();
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

/// Along a new axis what was added repeats the operand's own elements.
LogicalResult Padder::broadcast(BroadcastOp op) {
  Value value = op.getValue();
  bool spreads = false;
  for (int64_t axis = 0, rank = op.getType().getRank(); axis < rank; ++axis)
    spreads |= isPadded(op, axis) && !llvm::is_contained(op.getAxes(), axis);
  Fill same = constantOf(value);
  fills[op] = same ? same : spreads ? std::nullopt : fills.lookup(value);
  return success();
}

LogicalResult Padder::reduce(ReduceOp op) {
  double neutral = op.getKind() == ReduceKind::add ? 0.0 : -std::numeric_limits<double>::infinity();
  if (isPadded(op.getValue(), op.getAxis()))
    clearOperand(op.getValueMutable(), neutral);
  Fill fill = fills.lookup(op.getValue());
  fills[op.getResult()] = fill == neutral || op.getKind() == ReduceKind::max ? fill : std::nullopt;
  return success();
}

/// Both operands are zero where the sum runs on: zero times what is not a number is none.
LogicalResult Padder::dot(DotOp op) {
  if (isPadded(op.getA(), op.getTransposeA() ? 0 : 1)) {
    clearOperand(op.getAMutable());
    clearOperand(op.getBMutable());
  }
  bool zero = holds(op.getA(), 0) && holds(op.getB(), 0) && (!op.getInit() || holds(op.getInit(), 0));
  fills[op] = zero ? Fill(0.0) : std::nullopt;
  return success();
}

/// Columns that were added see themselves alone: columns of zeros stay so.
LogicalResult Padder::alongTokens(Operation *op) {
  auto isLong = [&](Value x) { return !extentOf(x).empty() && isPadded(x, 0); };
  Value rows = isa<ScanOp>(op) ? cast<ScanOp>(op).getDecay() : isa<ScanGradOp>(op) ? cast<ScanGradOp>(op).getDecay() : op->getOperand(0);
  if (isLong(rows))
    return op->emitOpError() << "expected a power of two of tokens, got " << extentOf(rows)[0];
  auto zero = [&](ValueRange values) { return llvm::all_of(values, [&](Value x) { return holds(x, 0); }); };
  auto known = [&](ValueRange values) { return llvm::all_of(values, [&](Value x) { return std::isfinite(fills.lookup(x).value_or(NAN)); }); };
  bool stays = false;
  if (auto scan = dyn_cast<ScanOp>(op))
    stays = scan.getKind() == fla::ScanKind::linear && zero({scan.getInitial(), scan.getInput()}) && known(scan.getDecay());
  else if (auto grad = dyn_cast<ScanGradOp>(op))
    stays = grad.getKind() == fla::ScanKind::linear && zero({grad.getDPrev(), grad.getDNext(), grad.getDLast()}) &&
            known({grad.getDecay(), grad.getPrev()});
  else
    stays = !isa<SegSumOp, SegSumGradOp>(op) && zero(op->getOperands());
  for (Value result : op->getResults())
    fills[result] = stays ? Fill(0.0) : std::nullopt;
  return success();
}

/// Each group of axes keeps its order if only its first one (but for ones) grows.
static bool keepsOrder(ArrayRef<ReassociationIndices> groups, ArrayRef<int64_t> apart) {
  for (const ReassociationIndices &group : groups) {
    bool isFirst = true;
    for (int64_t axis : group) {
      if (!isFirst && !llvm::isPowerOf2_64(apart[axis]))
        return false;
      isFirst &= apart[axis] == 1;
    }
  }
  return true;
}

LogicalResult Padder::reshape(Operation *op, ArrayRef<ReassociationIndices> groups, ArrayRef<int64_t> apart) {
  Value from = op->getOperand(0), to = op->getResult(0);
  if (!keepsOrder(groups, apart)) {
    replace(op, ReshapeOp::create(builder, op->getLoc(), to.getType(), from, extentOf(from), extentOf(to)), 0.0);
    return success();
  }
  if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op))
    expand.setStaticOutputShape(shapeOf(expand.getType()));
  fills[to] = fills.lookup(from);
  return success();
}

//===----------------------------------------------------------------------===//
// Slices
//===----------------------------------------------------------------------===//

/// The front of a tile, or a tile with zeros behind it.
Value Padder::resized(Value value, const Sizes &shape) {
  Sizes from = shapeOf(value.getType());
  if (from == shape)
    return value;
  auto indices = [&](ArrayRef<int64_t> numbers) { return getAsIndexOpFoldResult(builder.getContext(), numbers); };
  Sizes zeros(shape.size(), 0), ones(shape.size(), 1);
  if (llvm::all_of_zip(from, shape, [](int64_t x, int64_t y) { return x >= y; }))
    return tensor::ExtractSliceOp::create(builder, value.getLoc(), value, indices(zeros), indices(shape), indices(ones));
  Value empty = constant(value.getLoc(), cast<RankedTensorType>(value.getType()).clone(shape), 0);
  return tensor::InsertSliceOp::create(builder, value.getLoc(), value, empty, indices(zeros), indices(from), indices(ones));
}

/// The larger tile that a slice of padded sizes fits in.
template <typename Op> FailureOr<Sizes> roomFor(Op op, const Sizes &whole) {
  Sizes room(whole);
  for (auto [axis, offset, size, stride] : llvm::enumerate(op.getStaticOffsets(), op.getStaticSizes(), op.getStaticStrides())) {
    if (ShapedType::isDynamic(offset) || ShapedType::isDynamic(size) || ShapedType::isDynamic(stride))
      return op.emitOpError("expected static offsets, sizes and strides in a kernel for a GPU"), failure();
    int64_t end = offset + (static_cast<int64_t>(llvm::PowerOf2Ceil(size)) - 1) * stride + 1;
    room[axis] = std::max<int64_t>(room[axis], llvm::PowerOf2Ceil(end));
  }
  return room;
}

/// Beyond its own elements a slice holds its neighbours'.
LogicalResult Padder::extractSlice(tensor::ExtractSliceOp op) {
  if (!isPadded(op) && !isPadded(op.getSource()))
    return success();
  auto room = roomFor(op, shapeOf(op.getSource().getType()));
  if (failed(room))
    return failure();
  Value from = resized(op.getSource(), *room);
  auto indices = [&](ArrayRef<int64_t> numbers) { return getAsIndexOpFoldResult(builder.getContext(), numbers); };
  auto slice = tensor::ExtractSliceOp::create(builder, op.getLoc(), cast<RankedTensorType>(op.getType()), from, indices(op.getStaticOffsets()),
                                              indices(widen(Sizes(op.getStaticSizes()))), indices(op.getStaticStrides()));
  replace(op, slice, std::nullopt);
  return success();
}

/// Inserts all, then takes back what lies behind the slice's own elements.
LogicalResult Padder::insertSlice(tensor::InsertSliceOp op) {
  if (!isPadded(op) && !isPadded(op.getSource()))
    return success();
  Sizes whole = shapeOf(op.getType());
  auto room = roomFor(op, whole);
  if (failed(room))
    return failure();
  auto indices = [&](ArrayRef<int64_t> numbers) { return getAsIndexOpFoldResult(builder.getContext(), numbers); };
  Value all = tensor::InsertSliceOp::create(builder, op.getLoc(), op.getSource(), resized(op.getDest(), *room), indices(op.getStaticOffsets()),
                                            indices(widen(Sizes(op.getStaticSizes()))), indices(op.getStaticStrides()));
  all = resized(all, whole);
  Fill fill = fills.lookup(op.getDest());
  if (isPadded(op.getSource())) {
    Sizes bounds;
    for (auto [axis, offset, size, stride] : llvm::enumerate(op.getStaticOffsets(), op.getStaticSizes(), op.getStaticStrides()))
      bounds.push_back(std::min(whole[axis], offset + size * stride));
    all = arith::SelectOp::create(builder, op.getLoc(), inside(op.getLoc(), bounds, op.getType()), all, op.getDest());
  }
  replace(op, all, fill);
  return success();
}

struct PadTiles : fla::impl::PadTilesBase<PadTiles> {
  void runOnOperation() override {
    for (auto kernel : getOperation().getOps<KernelOp>())
      if (failed(Padder(&getContext()).run(kernel)))
        return signalPassFailure();
  }
};
} // namespace
