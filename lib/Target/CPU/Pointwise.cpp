//===- Pointwise.cpp - clusters of elementwise work, and reductions -------===//
//
// In:  %b = tile.broadcast %r [0] ; %p = arith.mulf %x, %b ; %y = math.exp %p
// Out: for i: r = splat R[i]; for j by vectors: Y[i,j..] = exp(X[i,j..] * r)
//
//===----------------------------------------------------------------------===//
#include "Lowering.h"

namespace fla::cpu {

static RankedTensorType tensorType(Value value) { return cast<RankedTensorType>(value.getType()); }

/// True if the value is computed where it is used instead of loaded.
bool Lowering::computesHere(Value value) {
  Operation *op = value.getDefiningOp();
  return op && isPointwise(op) && (isAlwaysInline(op) || !plan.isStored(value));
}

/// True if all that `value` is computed from is read at the same place.
bool Lowering::isFlat(Value value) {
  Operation *op = value.getDefiningOp();
  if (auto broadcast = dyn_cast_or_null<tile::BroadcastOp>(op))
    return broadcast.getAxes().empty() && !isa<RankedTensorType>(broadcast.getValue().getType());
  if (isa_and_nonnull<tile::ValidOp>(op))
    return tensorType(value).getRank() == 1;
  return llvm::all_of(op->getOperands(), [&](Value operand) {
    return !isa<RankedTensorType>(operand.getType()) || !computesHere(operand) || isFlat(operand);
  });
}

/// Evaluates, once for a row, the broadcasts that do not change along it.
void Lowering::collectRow(Value value, ArrayRef<Value> outer, DenseMap<Value, Value> &row, bool root) {
  if (!isa<RankedTensorType>(value.getType()) || !(root || computesHere(value)) || row.contains(value))
    return;
  Operation *op = value.getDefiningOp();
  auto broadcast = dyn_cast<tile::BroadcastOp>(op);
  if (!broadcast) {
    for (Value operand : op->getOperands())
      collectRow(operand, outer, row);
    return;
  }
  int64_t rank = tensorType(value).getRank();
  auto axes = broadcast.getAxes();
  if (axes.empty() || axes.back() == rank - 1 || !isa<RankedTensorType>(broadcast.getValue().getType()))
    return;
  Spot spot;
  for (int64_t axis : axes)
    spot.index.push_back(outer[axis]);
  row[value] = evaluate(broadcast.getValue(), spot);
}

Value Lowering::evaluateBroadcast(Value operand, ArrayRef<int64_t> axes, Value result, const Spot &spot) {
  if (!isa<RankedTensorType>(operand.getType()))
    return e.splat(scalar(operand), spot.width);
  if (spot.row)
    if (Value known = spot.row->lookup(result))
      return e.splat(known, spot.width);
  Spot inner;
  for (int64_t axis : axes)
    inner.index.push_back(spot.index[axis]);
  bool alongLast = !axes.empty() && axes.back() == tensorType(result).getRank() - 1;
  inner.width = alongLast ? spot.width : 1;
  Value value = evaluate(operand, inner);
  return alongLast ? value : e.splat(value, spot.width);
}

Value Lowering::evaluateValid(tile::ValidOp op, const Spot &spot) {
  return e.below(spot.index.back(), spot.width, scalar(op.getResult()));
}

Value Lowering::evaluate(Value value, const Spot &spot) {
  if (!isa<RankedTensorType>(value.getType()))
    return scalar(value);
  if (!computesHere(value)) {
    Tile from = memory(value);
    Value at = spot.flat ? spot.index.front() : e.offset(from.shape, spot.index);
    return e.load(e.at(from.base, at, from.element), from.element, spot.width);
  }
  return compute(value, spot);
}

/// The value from its operands, even if it has a place.
Value Lowering::compute(Value value, const Spot &spot) {
  Operation *op = value.getDefiningOp();
  if (auto broadcast = dyn_cast<tile::BroadcastOp>(op))
    return evaluateBroadcast(broadcast.getValue(), broadcast.getAxes(), value, spot);
  if (auto splat = dyn_cast<tensor::SplatOp>(op))
    return e.splat(scalar(splat.getInput()), spot.width);
  if (auto valid = dyn_cast<tile::ValidOp>(op))
    return evaluateValid(valid, spot);
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    auto splat = cast<SplatElementsAttr>(constant.getValue()).getSplatValue<Attribute>();
    Type type = Emitter::vec(tensorType(value).getElementType(), spot.width);
    TypedAttr attr = spot.width == 1 ? cast<TypedAttr>(splat) : cast<TypedAttr>(DenseElementsAttr::get(cast<VectorType>(type), splat));
    return arith::ConstantOp::create(e.b, e.loc, attr);
  }
  SmallVector<Value> operands = llvm::map_to_vector(op->getOperands(), [&](Value v) { return evaluate(v, spot); });
  return emitElementwise(e, op, operands, spot.width);
}

/// Computes a pointwise value into memory.
void Lowering::materialise(Value value, Tile to) {
  if (to.size() == 0)
    return;
  if (to.shape.empty() || isFlat(value)) {
    Spot spot;
    spot.flat = true;
    e.columns(to.size(), to.element, [&](Value i, int64_t width) {
      spot.index.assign({i});
      spot.width = width;
      e.store(compute(value, spot), e.at(to.base, i, to.element));
    });
    return;
  }
  SmallVector<Value> outer;
  materialiseRow(value, to, outer);
}

void Lowering::materialiseRow(Value value, Tile to, SmallVector<Value> &outer) {
  size_t axis = outer.size();
  if (axis + 1 < to.shape.size()) {
    e.loop(0, to.shape[axis], 1, [&](Value i) {
      outer.push_back(i);
      materialiseRow(value, to, outer);
      outer.pop_back();
    });
    return;
  }
  DenseMap<Value, Value> row;
  collectRow(value, outer, row, /*root=*/true);
  SmallVector<Value> first(outer);
  first.push_back(e.index(0));
  Value base = e.at(to.base, e.offset(to.shape, first), to.element);
  e.columns(to.shape.back(), to.element, [&](Value j, int64_t width) {
    Spot spot{outer, width, false, &row};
    spot.index.push_back(j);
    e.store(compute(value, spot), e.at(base, j, to.element));
  });
}

//===----------------------------------------------------------------------===//
// Reductions; the operand is computed on the fly
//===----------------------------------------------------------------------===//

static double identity(tile::ReduceKind kind) { return kind == tile::ReduceKind::max ? -std::numeric_limits<double>::infinity() : 0.0; }

static Value combine(Emitter &e, tile::ReduceKind kind, Value x, Value y) {
  return kind == tile::ReduceKind::max ? e.maxf(x, y) : e.addf(x, y);
}

/// Reduces the last axis at the row `outer`.
Value Lowering::reduceRow(tile::ReduceOp op, SmallVector<Value> outer) {
  RankedTensorType type = tensorType(op.getValue());
  Type element = type.getElementType();
  int64_t count = type.getShape().back(), lanes = e.lanes(element), full = count / lanes * lanes;
  bool isMax = op.getKind() == tile::ReduceKind::max;
  DenseMap<Value, Value> row;
  collectRow(op.getValue(), outer, row);
  auto part = [&](Value j, int64_t width) {
    Spot spot{outer, width, false, &row};
    spot.index.push_back(j);
    return evaluate(op.getValue(), spot);
  };
  Value total = e.real(element, identity(op.getKind()));
  if (full) {
    Value zero = e.real(Emitter::vec(element, lanes), identity(op.getKind()));
    auto sums = e.loop(0, full, lanes, ValueRange{zero}, [&](Value j, ValueRange sum) {
      return SmallVector<Value>{combine(e, op.getKind(), sum[0], part(j, lanes))};
    });
    total = e.horizontal(sums[0], isMax);
  }
  if (count > full)
    total = combine(e, op.getKind(), total, e.horizontal(part(e.index(full), count - full), isMax));
  return total;
}

/// Reduces `axis`, which is not the last one: a loop over it inside the columns.
void Lowering::reduceColumns(tile::ReduceOp op, SmallVector<Value> &outer, unsigned axis, Tile to) {
  RankedTensorType type = tensorType(op.getValue());
  int64_t rank = type.getRank();
  if (static_cast<int64_t>(outer.size()) < rank - 2) {
    int64_t at = outer.size() < axis ? outer.size() : outer.size() + 1;
    e.loop(0, type.getShape()[at], 1, [&](Value i) {
      outer.push_back(i);
      reduceColumns(op, outer, axis, to);
      outer.pop_back();
    });
    return;
  }
  Type element = type.getElementType();
  int64_t lanes = e.lanes(element);
  // Up to four vectors side by side, so that a row's cache line is used whole.
  auto group = [&](Value first, ArrayRef<int64_t> widths) {
    SmallVector<Value> init;
    for (int64_t width : widths)
      init.push_back(e.real(Emitter::vec(element, width), identity(op.getKind())));
    auto sums = e.loop(0, type.getShape()[axis], 1, init, [&](Value r, ValueRange sum) {
      SmallVector<Value> next, rows(outer);
      rows.insert(rows.begin() + axis, r);
      DenseMap<Value, Value> row;
      collectRow(op.getValue(), rows, row);
      for (auto [i, width] : llvm::enumerate(widths)) {
        Spot spot{rows, width, false, &row};
        spot.index.push_back(e.add(first, i * lanes));
        next.push_back(combine(e, op.getKind(), sum[i], evaluate(op.getValue(), spot)));
      }
      return next;
    });
    for (auto [i, sum] : llvm::enumerate(sums)) {
      SmallVector<Value> index(outer);
      index.push_back(e.add(first, i * lanes));
      e.store(sum, e.at(to.base, e.offset(to.shape, index), element));
    }
  };
  int64_t count = type.getShape().back(), done = count / (4 * lanes) * 4 * lanes;
  e.loop(0, done, 4 * lanes, [&](Value j) { group(j, {lanes, lanes, lanes, lanes}); });
  SmallVector<int64_t> rest;
  for (int64_t left = count - done; left > 0; left -= lanes)
    rest.push_back(std::min(left, lanes));
  if (!rest.empty())
    group(e.index(done), rest);
}

void Lowering::reduce(tile::ReduceOp op) {
  RankedTensorType type = tensorType(op.getValue());
  int64_t rank = type.getRank(), axis = op.getAxis();
  if (rank == 1)
    return define(op, reduceRow(op, {}));
  Tile to = memory(op.getResult());
  SmallVector<Value> outer;
  if (axis != rank - 1)
    return reduceColumns(op, outer, axis, to);
  std::function<void()> rows = [&] {
    size_t at = outer.size();
    if (at == to.shape.size())
      return e.store(reduceRow(op, outer), e.at(to.base, e.offset(to.shape, outer), to.element));
    e.loop(0, to.shape[at], 1, [&](Value i) {
      outer.push_back(i);
      rows();
      outer.pop_back();
    });
  };
  rows();
}

} // namespace fla::cpu
