//===- EvaluateTile.cpp - operations of the tile dialect on values --------===//
//
// Axes have no names here. Grid and memory operations belong to the kernel
// interpreter (Kernels.cpp).
//
//===----------------------------------------------------------------------===//
#include "Dispatch.h"
#include "Scans.h"

#include "fla/Dialect/Tile/IR/Tile.h"
#include "llvm/ADT/TypeSwitch.h"
#include <limits>

using namespace mlir;
using namespace fla;
using namespace fla::interp;

static constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class S> static Tensor<S> repeat(const Tensor<S> &value, llvm::ArrayRef<int64_t> axes, const Shape &shape) {
  Tensor<S> result(shape);
  auto own = value.shape.strides(), full = shape.strides();
  for (int64_t i = 0; i < result.size(); ++i) {
    int64_t at = 0;
    for (auto [axis, target] : llvm::enumerate(axes))
      at += (i / full[target]) % shape.sizes[target] * own[axis];
    result[i] = value[at];
  }
  return result;
}

template <class S> static Tensor<S> inside(llvm::ArrayRef<int64_t> bounds, const Shape &shape) {
  Tensor<S> result(shape, S(1.0));
  auto strides = shape.strides();
  for (int64_t i = 0; i < result.size(); ++i)
    for (auto [axis, bound] : llvm::enumerate(bounds))
      if ((i / strides[axis]) % shape.sizes[axis] >= bound)
        result[i] = S(0.0);
  return result;
}

/// Element of a tile for the i-th of a box.
static int64_t positionInBox(int64_t i, llvm::ArrayRef<int64_t> box, const Shape &shape) {
  auto strides = shape.strides();
  int64_t at = 0;
  for (int64_t axis = static_cast<int64_t>(box.size()) - 1; axis >= 0; --axis) {
    at += i % box[axis] * strides[axis];
    i /= box[axis];
  }
  return at;
}

template <class S> static Tensor<S> reshapeBox(tile::ReshapeOp op, const Tensor<S> &value, const Shape &shape) {
  Tensor<S> result(shape);
  int64_t count = 1;
  for (int64_t bound : op.getFrom())
    count *= bound;
  for (int64_t i = 0; i < count; ++i)
    result[positionInBox(i, op.getTo(), shape)] = value[positionInBox(i, op.getFrom(), value.shape)];
  return result;
}

template <class S> static Tensor<S> reduceAxis(tile::ReduceOp op, const Tensor<S> &value, const Shape &shape) {
  bool adds = op.getKind() == tile::ReduceKind::add;
  int64_t axis = op.getAxis(), extent = value.shape.sizes[axis], inner = value.shape.strides()[axis];
  Tensor<S> result(shape, S(adds ? 0.0 : -kInfinity));
  for (int64_t i = 0; i < result.size(); ++i)
    for (int64_t j = 0; j < extent; ++j)
      result[i] = apply(adds ? Binary::Add : Binary::Max, result[i], value[(i / inner * extent + j) * inner + i % inner]);
  return result;
}

template <class S> static Tensor<S> transpose(const Tensor<S> &value, const Shape &shape) {
  int64_t rows = value.shape.sizes[0], columns = value.shape.sizes[1];
  Tensor<S> result(shape);
  if (shape.count() != value.size())
    return result;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      result[j * rows + i] = value[i * columns + j];
  return result;
}

//===----------------------------------------------------------------------===//
// Products over visible pairs
//===----------------------------------------------------------------------===//

static bool isVisible(tile::Pairs pairs, int64_t level, int64_t t, int64_t s) {
  switch (pairs) {
  case tile::Pairs::all: return true;
  case tile::Pairs::causal: return s <= t;
  case tile::Pairs::strict: return s < t;
  case tile::Pairs::diagonal: return s == t;
  case tile::Pairs::level:
    return t / (2 * level) == s / (2 * level) && t % (2 * level) >= level && s % (2 * level) < level;
  }
  return false;
}

template <class S> static Tensor<S> dot(tile::DotOp op, const Tensor<S> &a, const Tensor<S> &b, const Tensor<S> *init, const Shape &shape) {
  bool ta = op.getTransposeA(), tb = op.getTransposeB(), restrictsResult = op.restrictsResult();
  int64_t rows = shape.sizes[0], columns = shape.sizes[1], depth = a.shape.sizes[ta ? 0 : 1];
  auto visible = [&](int64_t t, int64_t s) { return isVisible(op.getPairs(), op.getLevel(), t, s); };
  Tensor<S> result = init ? *init : Tensor<S>(shape);
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t n = 0; n < columns; ++n)
      for (int64_t k = 0; k < depth; ++k) {
        if (restrictsResult ? !visible(m, n) : ta ? !visible(k, m) : !visible(m, k))
          continue;
        result[m * columns + n] += a[ta ? k * rows + m : m * depth + k] * b[tb ? n * depth + k : k * columns + n];
      }
  return result;
}

// X = I + M X, row by row.
template <class S> static Tensor<S> inverse(const Tensor<S> &m) {
  Tensor<S> x(m.shape);
  int64_t n = m.shape.sizes[0];
  for (int64_t i = 0; i < n; ++i) {
    x[i * n + i] = S(1.0);
    for (int64_t j = 0; j < i; ++j)
      for (int64_t k = 0; k <= j; ++k)
        x[i * n + k] += m[i * n + j] * x[j * n + k];
  }
  return x;
}

//===----------------------------------------------------------------------===//
// Sums over segments of tokens
//===----------------------------------------------------------------------===//

template <class S> static Tensor<S> segsum(const Tensor<S> &gate, bool pre, bool strict) {
  int64_t n = gate.size();
  Tensor<S> d(gate.shape.outer("", n), S(-kInfinity));
  for (int64_t s = 0; s < n; ++s) {
    if (!pre && !strict)
      d[s * n + s] = S(0.0);
    S sum(0.0);
    for (int64_t t = s + 1; t < n; ++t) {
      S before = sum;
      sum = sum + gate[t];
      d[t * n + s] = pre ? before : sum;
    }
  }
  return d;
}

// Of each s the sum over the readers t >= l (> l with `pre`), summed over s < l.
template <class S> static Tensor<S> segsumGrad(const Tensor<S> &dD, bool pre) {
  Tensor<S> grad(dD.shape.inner());
  int64_t n = grad.size();
  if (dD.size() != n * n)
    return grad;
  std::vector<S> seen(n, S(0.0));
  for (int64_t l = n - 1; l >= 0; --l)
    for (int64_t s = 0; s < l; ++s) {
      S before = seen[s];
      seen[s] = before + dD[l * n + s];
      grad[l] += pre ? before : seen[s];
    }
  return grad;
}

namespace {
/// Calls f(row, gate) for each gate that a row's sum of `tile.level_decay` holds.
template <class F> void forEachLevelTerm(int64_t tokens, int64_t level, bool pre, F f) {
  for (int64_t t = 0; t < tokens; ++t) {
    int64_t middle = t / (2 * level) * (2 * level) + level;
    bool right = t >= middle;
    int64_t first = right ? middle : t + 1, last = right ? (pre ? t - 1 : t) : middle - 1;
    for (int64_t l = first; l <= std::min(last, tokens - 1); ++l)
      f(t, l);
  }
}
} // namespace

template <class S> static Tensor<S> levelDecay(const Tensor<S> &gate, int64_t level, bool pre) {
  Tensor<S> sums(gate.shape);
  int64_t n = gate.rowSize();
  forEachLevelTerm(gate.shape.sizes[0], level, pre, [&](int64_t row, int64_t l) {
    for (int64_t k = 0; k < n; ++k)
      sums[row * n + k] += gate[l * n + k];
  });
  return sums;
}

template <class S> static Tensor<S> levelDecayGrad(const Tensor<S> &dSums, int64_t level, bool pre) {
  Tensor<S> grad(dSums.shape);
  int64_t n = grad.rowSize();
  forEachLevelTerm(grad.shape.sizes[0], level, pre, [&](int64_t row, int64_t l) {
    for (int64_t k = 0; k < n; ++k)
      grad[l * n + k] += dSums[row * n + k];
  });
  return grad;
}

//===----------------------------------------------------------------------===//
// Dispatch
//===----------------------------------------------------------------------===//

template <class S> static Handled tileScan(tile::ScanOp op, Environment<S> &env) {
  ScanResult<S> r = scan(op.getKind(), env[op.getInitial()], env[op.getDecay()], env[op.getInput()]);
  Tensor<S> results[] = {r.prev, r.next, r.last};
  return bindAll<S>(op, env, results);
}

template <class S> static Handled tileScanGrad(tile::ScanGradOp op, Environment<S> &env) {
  ScanGrad<S> g = scanGrad<S>(op.getKind(), {env[op.getDecay()], env[op.getInput()], env[op.getPrev()], env[op.getNext()],
                                             env[op.getDPrev()], env[op.getDNext()], env[op.getDLast()]});
  Tensor<S> results[] = {g.initial, g.decay, g.input};
  return bindAll<S>(op, env, results);
}

// Shapes that the verifiers leave open.
template <class S> static llvm::Error checkShapes(Operation *op, const Environment<S> &env) {
  auto rank = [&](Value value) { return env[value].shape.rank(); };
  auto fail = [](const char *text) { return llvm::createStringError(text); };
  if (isa<tile::TransposeOp, tile::SegSumGradOp>(op) && rank(op->getOperand(0)) != 2)
    return fail("expected a matrix");
  if (isa<tile::InverseOp>(op) && (rank(op->getOperand(0)) != 2 || env[op->getOperand(0)].shape.sizes[0] != env[op->getOperand(0)].shape.sizes[1]))
    return fail("expected a square matrix");
  if (isa<tile::SegSumOp>(op) && rank(op->getOperand(0)) != 1)
    return fail("expected one gate a token");
  if (auto level = op->getAttrOfType<IntegerAttr>("level"); level && isa<tile::LevelDecayOp, tile::LevelDecayGradOp>(op))
    if (level.getInt() <= 0 || rank(op->getOperand(0)) == 0)
      return fail("expected a positive level and a row for each token");
  return llvm::Error::success();
}

template <class S> Handled fla::interp::evaluateTile(Operation *op, Environment<S> &env) {
  if (!isa<tile::TileDialect>(op->getDialect()) || op->getNumResults() == 0)
    return false;
  llvm::Expected<Shape> expected = env.shape(op->getResult(0));
  if (!expected)
    return expected.takeError();
  if (llvm::Error error = checkShapes(op, env))
    return std::move(error);
  const Shape &shape = *expected;
  auto done = [&](Tensor<S> result) { return bind(op, env, std::move(result)); };
  return llvm::TypeSwitch<Operation *, Handled>(op)
      .Case([&](tile::BroadcastOp o) { return done(repeat(env[o.getValue()], o.getAxes(), shape)); })
      .Case([&](tile::InsideOp o) { return done(inside<S>(o.getBounds(), shape)); })
      .Case([&](tile::ReshapeOp o) { return done(reshapeBox(o, env[o.getValue()], shape)); })
      .Case([&](tile::ReduceOp o) { return done(reduceAxis(o, env[o.getValue()], shape)); })
      .Case([&](tile::TransposeOp o) { return done(transpose(env[o.getValue()], shape)); })
      .Case([&](tile::DotOp o) { return done(dot(o, env[o.getA()], env[o.getB()], o.getInit() ? &env[o.getInit()] : nullptr, shape)); })
      .Case([&](tile::InverseOp o) { return done(inverse(env[o.getValue()])); })
      .Case([&](tile::CumSumOp o) { return done(cumsum(env[o.getValue()], o.getReverse(), o.getExclusive())); })
      .Case([&](tile::SegSumOp o) { return done(segsum(env[o.getGate()], o.getPre(), o.getStrict())); })
      .Case([&](tile::SegSumGradOp o) { return done(segsumGrad(env[o.getValue()], o.getPre())); })
      .Case([&](tile::LevelDecayOp o) { return done(levelDecay(env[o.getGate()], o.getLevel(), o.getPre())); })
      .Case([&](tile::LevelDecayGradOp o) { return done(levelDecayGrad(env[o.getValue()], o.getLevel(), o.getPre())); })
      .Case([&](tile::ScanOp o) { return tileScan(o, env); })
      .Case([&](tile::ScanGradOp o) { return tileScanGrad(o, env); })
      .Default([](Operation *) -> Handled { return false; });
}

FLA_INSTANTIATE_PART(evaluateTile)
