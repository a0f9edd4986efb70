//===- PairExpansion.cpp - pairs of tokens as dots ------------------------===//
#include "PairExpansion.h"

using namespace mlir;
using namespace fla;

/// exp of the segment sums of a scalar gate: C x C, 0 where a pair is invisible.
Value PairExpansion::table() {
  auto type = RankedTensorType::get({chunk(), chunk()}, alg.getSizes().computeType);
  return alg.exp(tile::SegSumOp::create(alg.getBuilder(), alg.getLoc(), type, gate, pre, strict));
}

/// Row t: the decay between t and the middle of its block of 2*level tokens.
Value PairExpansion::levelFactor(int64_t level) {
  return alg.exp(tile::LevelDecayOp::create(alg.getBuilder(), alg.getLoc(), gate.getType(), gate, level, pre));
}

Value PairExpansion::score(Value b, Value x) {
  if (isTrivial() && strict)
    return alg.zeros({1, 1});
  if (!isVector() || isTrivial()) {
    Value p = alg.dot(b, x, {.transposeB = true, .pairs = pairs()});
    return gate && !isTrivial() ? alg.mul(p, table()) : p;
  }
  Value sum = strict ? Value() : alg.dot(b, x, {.transposeB = true, .pairs = tile::Pairs::diagonal});
  for (int64_t level = 1; level < chunk(); level *= 2) {
    Value f = levelFactor(level);
    sum = alg.add(sum, alg.dot(alg.mul(b, f), alg.mul(x, f), {.transposeB = true, .pairs = tile::Pairs::level, .level = level}));
  }
  return sum;
}

Value PairExpansion::product(Value p, Value x, bool transposed) {
  if (isTrivial() && strict)
    return alg.splat(0.0, x.getType());
  if (!isVector() || isTrivial()) {
    Value decayed = gate && !isTrivial() ? alg.mul(p, table()) : p;
    return alg.dot(decayed, x, {.transposeA = transposed, .pairs = pairs()});
  }
  Value sum = strict ? Value() : alg.dot(p, x, {.transposeA = transposed, .pairs = tile::Pairs::diagonal});
  for (int64_t level = 1; level < chunk(); level *= 2) {
    Value f = levelFactor(level);
    Value part = alg.dot(p, alg.mul(x, f), {.transposeA = transposed, .pairs = tile::Pairs::level, .level = level});
    sum = alg.add(sum, alg.mul(part, f));
  }
  return sum;
}

Value PairExpansion::gateGrad(Value p, Value b, Value x) {
  if (isTrivial())
    return alg.splat(0.0, gate.getType());
  OpBuilder &builder = alg.getBuilder();
  if (!isVector()) {
    Value d = alg.mul(alg.mul(p, alg.dot(b, x, {.transposeB = true, .pairs = pairs()})), table());
    return tile::SegSumGradOp::create(builder, alg.getLoc(), gate.getType(), d, pre, strict);
  }
  Value sum;
  for (int64_t level = 1; level < chunk(); level *= 2) {
    Value f = levelFactor(level);
    Value bf = alg.mul(b, f), xf = alg.mul(x, f);
    Value readers = alg.mul(bf, alg.dot(p, xf, {.pairs = tile::Pairs::level, .level = level}));
    Value writers = alg.mul(xf, alg.dot(p, bf, {.transposeA = true, .pairs = tile::Pairs::level, .level = level}));
    Value d = alg.add(readers, writers);
    sum = alg.add(sum, tile::LevelDecayGradOp::create(builder, alg.getLoc(), d, level, pre));
  }
  return sum;
}

//===----------------------------------------------------------------------===//
// Triangular solves
//===----------------------------------------------------------------------===//

/// Rows of n values interleaved by token: row t*n + w is row t of value w.
static Value interleave(TileAlgebra &alg, ValueRange values) {
  int64_t n = values.size(), tokens = shapeOf(values[0])[0], width = shapeOf(values[0])[1];
  Value all = alg.zeros({tokens * n, width});
  for (auto [w, value] : llvm::enumerate(values))
    all = alg.insert(value, all, {static_cast<int64_t>(w), 0}, {n, 1});
  return all;
}

static Value interleaveScores(TileAlgebra &alg, ValueRange scores, int64_t n) {
  int64_t tokens = shapeOf(scores[0])[0];
  Value all = alg.zeros({tokens * n, tokens * n});
  for (auto [i, score] : llvm::enumerate(scores))
    if (!alg.isZero(score))
      all = alg.insert(score, all, {static_cast<int64_t>(i) / n, static_cast<int64_t>(i) % n}, {n, n});
  return all;
}

/// With a gate on the columns, T's blocks act like scores between rows.
static SmallVector<Value> applyGatedInverse(TileAlgebra &alg, Value inverse, ValueRange rows, Value gate, bool transposed) {
  int64_t n = rows.size(), tokens = alg.getSizes().chunk;
  SmallVector<Value> results(n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      Value block = n == 1 ? inverse : alg.slice(inverse, {i, j}, {tokens, tokens}, {n, n});
      PairExpansion pairs(alg, gate, /*pre=*/false, /*strict=*/j > i);
      if (transposed)
        results[j] = alg.add(results[j], pairs.applyTransposed(block, rows[i]));
      else
        results[i] = alg.add(results[i], pairs.apply(block, rows[j]));
    }
  return results;
}

/// One token: its rows follow each other, each adds what those before it (after it) give.
static SmallVector<Value> substitute(TileAlgebra &alg, ValueRange scores, ValueRange rows, bool transposed) {
  int64_t n = rows.size();
  SmallVector<Value> results(rows);
  for (int64_t step = 0; step < n; ++step)
    for (int64_t i = transposed ? n - 1 - step : step, j = 0; j < n; ++j)
      if (Value score = transposed ? scores[j * n + i] : scores[i * n + j]; (transposed ? j > i : j < i) && !alg.isZero(score))
        results[i] = alg.add(results[i], alg.dot(score, results[j], {}));
  return results;
}

SmallVector<Value> fla::expandSolve(TileAlgebra &alg, ValueRange scores, ValueRange rows, Value gate, bool transposed) {
  if (llvm::all_of(scores, [&](Value score) { return alg.isZero(score); }))
    return SmallVector<Value>(rows);
  if (alg.getSizes().chunk == 1)
    return substitute(alg, scores, rows, transposed);
  int64_t n = rows.size();
  Value matrix = n == 1 ? scores[0] : interleaveScores(alg, scores, n);
  Value inverse = tile::InverseOp::create(alg.getBuilder(), alg.getLoc(), matrix);
  if (gate && alg.getSizes().chunk > 1)
    return applyGatedInverse(alg, inverse, rows, gate, transposed);
  TileAlgebra::DotFlags flags{.transposeA = transposed, .pairs = tile::Pairs::causal};
  if (n == 1)
    return {alg.dot(inverse, rows[0], flags)};
  Value all = alg.dot(inverse, interleave(alg, rows), flags);
  SmallVector<Value> results;
  for (int64_t w = 0; w < n; ++w)
    results.push_back(alg.slice(all, {w, 0}, shapeOf(rows[0]), {n, 1}));
  return results;
}
