//===- EvaluateFLA.cpp - operations of the fla dialect --------------------===//
//
// Each axis is found by its name, so the same lines serve one token and a chunk
// of tokens, where values have one more axis.
//
//===----------------------------------------------------------------------===//
#include "Dispatch.h"
#include "Scans.h"

#include "llvm/ADT/TypeSwitch.h"
#include <limits>

using namespace mlir;
using namespace fla;
using namespace fla::interp;

static constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class S> static Tensor<S> largest(const Tensor<S> &value, const Shape &result) {
  return reduce(Binary::Max, S(-kInfinity), value, result);
}

// Along the last axis; shifted by the largest element, so no exponent overflows.
template <class S> static Tensor<S> softmax(const Tensor<S> &value) {
  Tensor<S> result = value;
  int64_t n = value.shape.sizes.empty() ? 1 : value.shape.sizes.back();
  for (int64_t start = 0; start < value.size(); start += n) {
    double shift = -kInfinity;
    for (int64_t i = start; i < start + n; ++i)
      shift = std::max(shift, valueOf(value[i]));
    S total(0.0);
    for (int64_t i = start; i < start + n; ++i)
      total += result[i] = exponential(value[i] - S(shift));
    for (int64_t i = start; i < start + n; ++i)
      result[i] = result[i] / total;
  }
  return result;
}

// Reads a version of the state: the vector's own axis is summed.
template <class S> static Tensor<S> read(const Tensor<S> &state, const Tensor<S> &vector, llvm::StringRef kept) {
  Shape shape;
  shape.append(kept, state.shape.sizes[state.shape.find(kept)]);
  return contract(state, vector, shape);
}

// The op's description, line by line.
template <class S> static Handled affine(AffineOp op, Environment<S> &env) {
  Tensor<S> state = env[op.getState()];
  const Shape shape = state.shape;
  llvm::StringRef row = shape.names[op.getRowAxis()], column = shape.names[1 - op.getRowAxis()];
  llvm::SmallVector<Tensor<S>> versions = {state};
  for (Value gate : {op.getRowGate(), op.getColumnGate()})
    if (gate)
      state = contract(state, exponential(env[gate]), shape);
  versions.push_back(state);
  for (auto [w, x, value] : llvm::enumerate(op.getXs(), op.getValues())) {
    Tensor<S> y = env[value];
    for (auto [b, owner, version] : llvm::zip(op.getReads(), op.getReadRows(), op.getReadVersions()))
      if (owner == int64_t(w))
        y = y + read(versions[version + 1], env[b], column);
    state = state + contract(env[x], y, shape);
    versions.push_back(state);
  }
  llvm::SmallVector<Tensor<S>> results = {state};
  for (auto [q, version, onRows] : llvm::zip(op.getQueries(), op.getQueryVersions(), op.getQueryOnRows()))
    results.push_back(read(versions[version + 1], env[q], onRows ? column : row));
  return bindAll<S>(op, env, results);
}

template <class S> Handled fla::interp::evaluateFLA(Operation *op, Environment<S> &env) {
  if (!isa<FLADialect>(op->getDialect()) || op->getNumResults() == 0)
    return false;
  llvm::Expected<Shape> expected = env.shape(op->getResult(0));
  if (!expected)
    return expected.takeError();
  const Shape &shape = *expected;
  auto done = [&](Tensor<S> result) { return bind(op, env, std::move(result)); };
  return llvm::TypeSwitch<Operation *, Handled>(op)
      .Case([&](GateOp o) { return done(contract(env[o.getState()], env[o.getFactor()], shape)); })
      .Case([&](ScaleOp o) { return done(contract(env[o.getValue()], env[o.getFactor()], shape)); })
      .Case([&](ReadOp o) { return done(contract(env[o.getState()], env[o.getQuery()], shape)); })
      .Case([&](WriteOp o) { return done(env[o.getState()] + contract(env[o.getX()], env[o.getY()], shape)); })
      .Case([&](OuterOp o) { return done(contract(env[o.getX()], env[o.getY()], shape)); })
      .template Case<DotOp, ContractOp>([&](auto o) { return done(contract(env[o.getA()], env[o.getB()], shape)); })
      .Case([&](BroadcastOp o) { return done(broadcast(env[o.getValue()], shape)); })
      .Case([&](SumOp o) { return done(reduce(Binary::Add, S(0.0), env[o.getValue()], shape)); })
      .Case([&](MaxOp o) { return done(largest(env[o.getValue()], shape)); })
      .Case([&](SoftmaxOp o) { return done(softmax(env[o.getValue()])); })
      .Case([&](SigmoidOp o) { return done(apply(Unary::Sigmoid, env[o.getValue()])); })
      .Case([&](SoftplusOp o) { return done(apply(Unary::Softplus, env[o.getValue()])); })
      .Case([&](LogAddExpOp o) { return done(apply(Binary::LogAddExp, env[o.getA()], env[o.getB()])); })
      .Case([&](AssumeOp o) { return done(env[o.getValue()]); })
      .Case([&](AffineOp o) { return affine(o, env); })
      .Case([&](ScanOp o) {
        return done(advance(o.getKind(), env[o.getState()], env[o.getDecay()], env[o.getInput()]));
      })
      .Default([](Operation *) -> Handled { return false; });
}

FLA_INSTANTIATE_PART(evaluateFLA)
