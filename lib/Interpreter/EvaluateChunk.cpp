//===- EvaluateChunk.cpp - operations of the chunk dialect ----------------===//
//
// Sums over pairs of tokens, as the operations' descriptions spell them. The
// decay of every pair is summed over its own tokens, never as a difference.
//
//===----------------------------------------------------------------------===//
#include "Dispatch.h"
#include "Scans.h"

#include "fla/Dialect/Chunk/IR/Chunk.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fla;
using namespace fla::interp;

namespace {

/// A gate repeated over the tokens and inner axes of the values it decays.
template <class S> Tensor<S> spread(const Tensor<S> &gate, const Shape &rows) {
  return broadcast(gate, rows);
}

/// exp(decay(t, s)[k]) for all pairs of tokens with s <= t.
template <class S> class PairDecay {
public:
  /// `gate` has one row a token and the inner size of the values, or is null.
  PairDecay(const Tensor<S> *gate, int64_t tokens, int64_t inner, bool pre) : tokens(tokens), inner(inner), present(gate) {
    if (gate)
      build(*gate, pre);
  }
  S operator()(int64_t t, int64_t s, int64_t k) const {
    return present ? factors[(t * tokens + s) * inner + k] : S(1.0);
  }

private:
  // D[t,s] = D[t-1,s] + g[t]; with `pre` the reader's own gate comes too late.
  void build(const Tensor<S> &gate, bool pre) {
    factors.assign(tokens * tokens * inner, S(1.0));
    for (int64_t s = 0; s < tokens; ++s)
      for (int64_t k = 0; k < inner; ++k) {
        S sum(0.0);
        for (int64_t t = s + 1; t < tokens; ++t) {
          S before = sum;
          sum = sum + gate[t * inner + k];
          factors[(t * tokens + s) * inner + k] = exponential(pre ? before : sum);
        }
      }
  }
  int64_t tokens, inner;
  bool present;
  std::vector<S> factors;
};

/// What a pair operation ranges over: tokens x visible past x inner elements.
template <class S> struct Pairs {
  int64_t tokens, inner;
  bool strict;
  PairDecay<S> decay;

  Pairs(const Shape &rows, const Tensor<S> *gate, bool pre, bool strict)
      : tokens(rows.sizes[0]), inner(rows.inner().count()), strict(strict),
        decay(gate, tokens, inner, pre) {}

  /// Calls f(t, s, k) for each visible pair and inner element.
  template <class F> void forEach(F f) const {
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t s = 0; s < (strict ? t : t + 1); ++s)
        for (int64_t k = 0; k < inner; ++k)
          f(t, s, k);
  }
};

template <class S> std::optional<Tensor<S>> gateOver(Value gate, const Shape &rows, Environment<S> &env) {
  if (!gate)
    return std::nullopt;
  return spread(env[gate], rows);
}

template <class S> Pairs<S> pairsOver(const Shape &rows, Value gate, bool pre, bool strict, Environment<S> &env) {
  std::optional<Tensor<S>> own = gateOver(gate, rows, env);
  return Pairs<S>(rows, own ? &*own : nullptr, pre, strict);
}

} // namespace

template <class S> static Handled score(chunk::ScoreOp op, Environment<S> &env, const Shape &shape) {
  const Tensor<S> &b = env[op.getB()], &x = env[op.getX()];
  Pairs<S> pairs = pairsOver(x.shape, op.getGate(), op.getPre(), op.getStrict(), env);
  Tensor<S> p(shape);
  int64_t n = pairs.inner, c = pairs.tokens;
  pairs.forEach([&](int64_t t, int64_t s, int64_t k) { p[t * c + s] += b[t * n + k] * x[s * n + k] * pairs.decay(t, s, k); });
  return bind(op, env, p);
}

template <class S> static Handled applyPairs(chunk::ApplyOp op, Environment<S> &env, const Shape &shape) {
  const Tensor<S> &p = env[op.getP()], &x = env[op.getX()];
  Pairs<S> pairs = pairsOver(x.shape, op.getGate(), op.getPre(), op.getStrict(), env);
  Tensor<S> o(shape);
  int64_t n = pairs.inner, c = pairs.tokens;
  pairs.forEach([&](int64_t t, int64_t s, int64_t k) { o[t * n + k] += p[t * c + s] * pairs.decay(t, s, k) * x[s * n + k]; });
  return bind(op, env, o);
}

template <class S> static Handled applyTransposed(chunk::ApplyTransposedOp op, Environment<S> &env, const Shape &shape) {
  const Tensor<S> &p = env[op.getP()], &b = env[op.getB()];
  Pairs<S> pairs = pairsOver(b.shape, op.getGate(), op.getPre(), op.getStrict(), env);
  Tensor<S> x(shape);
  int64_t n = pairs.inner, c = pairs.tokens;
  pairs.forEach([&](int64_t t, int64_t s, int64_t k) { x[s * n + k] += p[t * c + s] * pairs.decay(t, s, k) * b[t * n + k]; });
  return bind(op, env, x);
}

// Each pair's own term goes to every gate between its tokens.
template <class S> static Handled gateGrad(chunk::GateGradOp op, Environment<S> &env, const Shape &shape) {
  const Tensor<S> &p = env[op.getP()], &b = env[op.getB()], &x = env[op.getX()];
  Pairs<S> pairs = pairsOver(x.shape, op.getGate(), op.getPre(), op.getStrict(), env);
  Tensor<S> spreadGrad(x.shape);
  int64_t n = pairs.inner, c = pairs.tokens;
  std::vector<S> seen(c * n, S(0.0)); // of each writer s: terms of the readers t >= l (> l with pre)
  for (int64_t l = c - 1; l >= 0; --l)
    for (int64_t s = 0; s < l; ++s)
      for (int64_t k = 0; k < n; ++k) {
        S &sum = seen[s * n + k], before = sum;
        sum = before + p[l * c + s] * b[l * n + k] * x[s * n + k] * pairs.decay(l, s, k);
        spreadGrad[l * n + k] += op.getPre() ? before : sum;
      }
  return bind(op, env, reduce(Binary::Add, S(0.0), spreadGrad, shape));
}

//===----------------------------------------------------------------------===//
// Solve
//===----------------------------------------------------------------------===//

namespace {
template <class S> struct System {
  llvm::SmallVector<const Tensor<S> *> scores;
  llvm::SmallVector<Tensor<S>> rows;
  Pairs<S> pairs;

  int64_t count() const { return rows.size(); }
  /// rows[to][t or s] += M[w][v][t,s] * decay * rows[from].
  void add(int64_t w, int64_t v, int64_t t, int64_t s, bool transposed) {
    const S &m = (*scores[w * count() + v])[t * pairs.tokens + s];
    for (int64_t k = 0, n = pairs.inner; k < n; ++k) {
      S &reader = rows[w][t * n + k], &writer = rows[v][s * n + k];
      S factor = m * pairs.decay(t, s, k);
      transposed ? writer += factor * reader : reader += factor * writer;
    }
  }
  // Rows in the order (token, w); row (s, v) precedes (t, w).
  void addEarlier(int64_t t, int64_t w, bool transposed) {
    for (int64_t s = 0; s <= t; ++s)
      for (int64_t v = 0; v < (s == t ? w : count()); ++v)
        add(w, v, t, s, transposed);
  }
  void forward() {
    for (int64_t t = 0; t < pairs.tokens; ++t)
      for (int64_t w = 0; w < count(); ++w)
        addEarlier(t, w, false);
  }
  void backward() {
    for (int64_t t = pairs.tokens - 1; t >= 0; --t)
      for (int64_t w = count() - 1; w >= 0; --w)
        addEarlier(t, w, true);
  }
};
} // namespace

template <class S> static Handled solve(chunk::SolveOp op, Environment<S> &env) {
  if (op.getRows().empty())
    return true;
  const Shape rows = env[op.getRows().front()].shape;
  System<S> system{{}, {}, pairsOver(rows, op.getGate(), false, false, env)};
  for (Value score : op.getScores())
    system.scores.push_back(&env[score]);
  for (Value row : op.getRows())
    system.rows.push_back(env[row]);
  op.getTransposed() ? system.backward() : system.forward();
  return bindAll<S>(op, env, system.rows);
}

//===----------------------------------------------------------------------===//
// Along the tokens
//===----------------------------------------------------------------------===//

template <class S> static Tensor<S> pad(Tensor<S> value, double neutral, int64_t validRows) {
  for (int64_t i = validRows * value.rowSize(); i < value.size(); ++i)
    value[i] = S(neutral);
  return value;
}

template <class S> static Handled chunkScan(chunk::ScanOp op, Environment<S> &env) {
  ScanResult<S> r = scan(op.getKind(), env[op.getInitial()], env[op.getDecay()], env[op.getInput()]);
  Tensor<S> results[] = {r.prev, r.next, r.last};
  return bindAll<S>(op, env, results);
}

template <class S> static Handled chunkScanGrad(chunk::ScanGradOp op, Environment<S> &env) {
  ScanGrad<S> g = scanGrad<S>(op.getKind(), {env[op.getDecay()], env[op.getInput()], env[op.getPrev()], env[op.getNext()],
                                             env[op.getDPrev()], env[op.getDNext()], env[op.getDLast()]});
  Tensor<S> results[] = {g.initial, g.decay, g.input};
  return bindAll<S>(op, env, results);
}

template <class S> Handled fla::interp::evaluateChunk(Operation *op, Environment<S> &env) {
  if (!isa<chunk::ChunkDialect>(op->getDialect()) || op->getNumResults() == 0)
    return false;
  llvm::Expected<Shape> expected = env.shape(op->getResult(0));
  if (!expected)
    return expected.takeError();
  const Shape &shape = *expected;
  return llvm::TypeSwitch<Operation *, Handled>(op)
      .Case([&](chunk::ScoreOp o) { return score(o, env, shape); })
      .Case([&](chunk::ApplyOp o) { return applyPairs(o, env, shape); })
      .Case([&](chunk::ApplyTransposedOp o) { return applyTransposed(o, env, shape); })
      .Case([&](chunk::GateGradOp o) { return gateGrad(o, env, shape); })
      .Case([&](chunk::SolveOp o) { return solve(o, env); })
      .Case([&](chunk::CumSumOp o) {
        return bind(o, env, cumsum(env[o.getValue()], o.getReverse(), o.getExclusive()));
      })
      .Case([&](chunk::PadOp o) {
        return bind(o, env, pad(env[o.getValue()], o.getNeutral().convertToDouble(), env.validRows));
      })
      .Case([&](chunk::ScanOp o) { return chunkScan(o, env); })
      .Case([&](chunk::ScanGradOp o) { return chunkScanGrad(o, env); })
      .Default([](Operation *) -> Handled { return false; });
}

FLA_INSTANTIATE_PART(evaluateChunk)
