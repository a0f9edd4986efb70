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

// A part that lacks the last axis counts as one element of it.
template <class S> static Handled concat(ConcatOp op, Environment<S> &env, const Shape &shape) {
  Tensor<S> result(shape);
  int64_t width = shape.sizes.empty() ? 1 : shape.sizes.back(), column = 0;
  int64_t rows = width == 0 ? 0 : result.size() / width;
  for (Value part : op.getParts()) {
    const Tensor<S> &source = env[part];
    int64_t own = source.shape.rank() < shape.rank() ? 1 : source.shape.sizes.back();
    if (column + own > width || source.size() != rows * own)
      return llvm::createStringError("expected parts of " + llvm::Twine(width) + " elements in all, got more");
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t i = 0; i < own; ++i)
        result[row * width + column + i] = source[row * own + i];
    column += own;
  }
  if (column != width)
    return llvm::createStringError("expected parts of " + llvm::Twine(width) + " elements in all, got " + llvm::Twine(column));
  return bind(op, env, result);
}

template <class S> static Handled rotate(RotateOp op, Environment<S> &env) {
  const Tensor<S> &x = env[op.getValue()], &angle = env[op.getAngle()];
  if (x.size() != 2 * angle.size())
    return llvm::createStringError("expected an angle for each pair of elements");
  Tensor<S> result(x.shape);
  for (int64_t i = 0; i < angle.size(); ++i) {
    S c = apply(Unary::Cos, angle[i]), s = apply(Unary::Sin, angle[i]);
    result[2 * i] = x[2 * i] * c - x[2 * i + 1] * s;
    result[2 * i + 1] = x[2 * i] * s + x[2 * i + 1] * c;
  }
  return bind(op, env, result);
}

template <class S> static Handled index(IndexOp op, Environment<S> &env, const Shape &shape) {
  const Tensor<S> &value = env[op.getValue()];
  int64_t position = op.getPosition(), axis = 0;
  while (axis < int64_t(shape.rank()) && value.shape.names[axis] == shape.names[axis])
    ++axis;
  if (position >= value.shape.sizes[axis])
    return llvm::createStringError("expected a position below " + llvm::Twine(value.shape.sizes[axis]) + ", got " + llvm::Twine(position));
  Tensor<S> result(shape);
  int64_t inner = value.shape.strides()[axis], extent = value.shape.sizes[axis];
  for (int64_t i = 0; i < result.size(); ++i)
    result[i] = value[((i / inner) * extent + position) * inner + i % inner];
  return bind(op, env, result);
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
      .template Case<FlattenOp, RenameOp>([&](auto o) {
        if (env[o.getValue()].size() != shape.count())
          return Handled(llvm::createStringError("expected as many elements as the operand has"));
        return done(reshape(env[o.getValue()], shape));
      })
      .Case([&](ConcatOp o) { return concat(o, env, shape); })
      .Case([&](RotateOp o) { return rotate(o, env); })
      .Case([&](IndexOp o) { return index(o, env, shape); })
      .Case([&](AffineOp o) { return affine(o, env); })
      .Case([&](ScanOp o) {
        return done(advance(o.getKind(), env[o.getState()], env[o.getDecay()], env[o.getInput()]));
      })
      .Default([](Operation *) -> Handled { return false; });
}

FLA_INSTANTIATE_PART(evaluateFLA)
