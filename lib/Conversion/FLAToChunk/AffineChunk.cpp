//===- AffineChunk.cpp - the chunk form of a matrix state -----------------===//
#include "AffineChunk.h"

using namespace mlir;
using namespace fla;

Type fla::withTokens(Type type) {
  MLIRContext *context = type.getContext();
  SmallVector<StringAttr> dims{StringAttr::get(context, kTokens)};
  llvm::append_range(dims, getDims(type));
  auto tensor = cast<RankedTensorType>(getValueType(context, dims));
  return tensor.clone(getElementTypeOrSelf(type));
}

Value fla::addTokens(OpBuilder &builder, Value value) {
  if (hasDim(value.getType(), kTokens))
    return value;
  return BroadcastOp::create(builder, value.getLoc(), withTokens(value.getType()), value);
}

Value fla::pad(Algebra &alg, Value value, double neutral) {
  if (getSplat(value) == neutral)
    return value;
  return chunk::PadOp::create(alg.getBuilder(), alg.getLoc(), value, APFloat(neutral));
}

AffineChunk::AffineChunk(OpBuilder &builder, AffineOp op, Lookup lookup) : builder(builder), op(op), alg(builder, op.getLoc()) {
  state = lookup(op.getState());
  tokens = builder.getStringAttr(kTokens);
  rowDim = getDims(op.getState())[op.getRowAxis()];
  columnDim = getDims(op.getState())[1 - op.getRowAxis()];
  auto padded = [&](auto range, SmallVector<Value> &into) {
    for (Value value : range) {
      Value lifted = lookup(value);
      into.push_back(pad(alg, addTokens(builder, lifted), 0.0));
    }
  };
  padded(op.getXs(), xs);
  padded(op.getValues(), values);
  padded(op.getReads(), reads);
  padded(op.getQueries(), queries);
  rowGate = makeGate(op.getRowGate() ? lookup(op.getRowGate()) : Value());
  columnGate = makeGate(op.getColumnGate() ? lookup(op.getColumnGate()) : Value());
}

//===----------------------------------------------------------------------===//
// Gates
//===----------------------------------------------------------------------===//

/// A gate without tokens is left alone between pairs: rows past the end are
/// zero anyway, and what is made of it does not depend on the chunk.
AffineChunk::Gate AffineChunk::makeGate(Value gate) {
  if (!gate)
    return {};
  Value padded = pad(alg, addTokens(builder, gate), 0.0);
  return {hasDim(gate.getType(), kTokens) ? padded : gate, padded};
}

Value AffineChunk::Gate::prefix(Algebra &alg, bool pre) const {
  if (!padded)
    return {};
  return alg.exp(chunk::CumSumOp::create(alg.getBuilder(), alg.getLoc(), padded, /*reverse=*/false, /*exclusive=*/pre));
}
Value AffineChunk::Gate::suffix(Algebra &alg) const {
  if (!padded)
    return {};
  return alg.exp(chunk::CumSumOp::create(alg.getBuilder(), alg.getLoc(), padded, /*reverse=*/true, /*exclusive=*/true));
}
Value AffineChunk::Gate::total(Algebra &alg) const {
  if (!padded)
    return {};
  Type type = getValueType(padded.getContext(), getDims(padded).drop_front());
  return alg.exp(alg.sumTo(padded, type));
}

static Value scaleBy(Algebra &alg, Value value, Value factor) { return factor ? alg.mul(value, factor) : value; }

//===----------------------------------------------------------------------===//
// Pairs
//===----------------------------------------------------------------------===//

/// Scores of readers that see `version` with write `row`: a write of the same
/// token is seen iff it comes before the version.
Value AffineChunk::score(Value b, Value x, const Gate &gate, int64_t version, int64_t row) {
  bool pre = version < 0, strict = row >= version;
  SmallVector<StringAttr> dims{tokens, builder.getStringAttr(kPast)};
  Type type = getValueType(builder.getContext(), dims);
  return chunk::ScoreOp::create(builder, op.getLoc(), type, b, x, gate.perPair, pre, strict);
}

Value AffineChunk::apply(Value p, Value y, const Gate &gate, bool pre, bool strict) {
  return chunk::ApplyOp::create(builder, op.getLoc(), y.getType(), p, y, gate.perPair, pre, strict);
}

/// (query e^inner) S e^outer, over tokens and `result`.
Value AffineChunk::readState(Value query, const Gate &inner, const Gate &outer, bool pre, StringAttr result) {
  Value product = alg.contract(scaleBy(alg, query, inner.prefix(alg, pre)), state, {tokens, result});
  return scaleBy(alg, product, outer.prefix(alg, pre));
}

//===----------------------------------------------------------------------===//
// Rows, answers, update
//===----------------------------------------------------------------------===//

/// ys: the second vectors of the writes. Rows without reads are their values;
/// the others solve Y = R + M Y among themselves.
void AffineChunk::solveRows() {
  ys = values;
  SmallVector<int64_t> reading, free;
  for (int64_t w = 0; w < static_cast<int64_t>(xs.size()); ++w)
    (llvm::is_contained(op.getReadRows(), w) ? reading : free).push_back(w);
  if (reading.empty())
    return;
  SmallVector<Value> rows, scores;
  for (int64_t w : reading) {
    Value row = isZero(op.getValues()[w]) ? Value() : values[w];
    SmallVector<Value> among(xs.size());
    for (auto [b, readRow, version] : llvm::zip(reads, op.getReadRows(), op.getReadVersions())) {
      if (readRow != w)
        continue;
      row = alg.add(row, readState(b, rowGate, columnGate, version < 0, columnDim));
      for (int64_t other = 0; other < static_cast<int64_t>(xs.size()); ++other) {
        Value s = score(b, xs[other], rowGate, version, other);
        bool isFree = llvm::is_contained(free, other);
        if (isFree && !isZero(op.getValues()[other]))
          row = alg.add(row, apply(s, values[other], columnGate, version < 0, other >= version));
        else if (!isFree)
          among[other] = alg.add(among[other], s);
      }
    }
    rows.push_back(row);
    for (int64_t other : reading)
      scores.push_back(among[other]);
  }
  SmallVector<Type> types(rows.size(), rows[0].getType());
  auto solve = chunk::SolveOp::create(builder, op.getLoc(), types, scores, rows, columnGate.perPair, /*transposed=*/false);
  for (auto [w, y] : llvm::zip(reading, solve.getResults()))
    ys[w] = y;
}

Value AffineChunk::answer(unsigned i) {
  int64_t version = op.getQueryVersions()[i];
  bool onRows = op.getQueryOnRows()[i], pre = version < 0;
  const Gate &inner = onRows ? rowGate : columnGate, &outer = onRows ? columnGate : rowGate;
  Value sum = readState(queries[i], inner, outer, pre, onRows ? columnDim : rowDim);
  for (auto [w, x] : llvm::enumerate(xs)) {
    Value key = onRows ? x : ys[w], value = onRows ? ys[w] : x;
    Value p = score(queries[i], key, inner, version, w);
    sum = alg.add(sum, apply(p, value, outer, pre, static_cast<int64_t>(w) >= version));
  }
  return sum;
}

/// S' = e^total S + sum (x e^suffix)^T y. A scalar decay scales y, which is the
/// more accurate side (MATH: numerics).
Value AffineChunk::update() {
  Value next = scaleBy(alg, scaleBy(alg, state, rowGate.total(alg)), columnGate.total(alg));
  bool scalar = rowGate.padded && getDims(rowGate.padded).size() == 1;
  for (auto [x, y] : llvm::zip(xs, ys)) {
    Value left = scalar ? x : scaleBy(alg, x, rowGate.suffix(alg));
    Value right = scaleBy(alg, scalar ? scaleBy(alg, y, rowGate.suffix(alg)) : y, columnGate.suffix(alg));
    next = alg.add(next, alg.contract(left, right, getDims(state)));
  }
  return next;
}

Value AffineChunk::run() {
  solveRows();
  for (unsigned i = 0; i < queries.size(); ++i)
    answers.push_back(answer(i));
  return update();
}
