//===- EvaluateShapes.cpp - operations that rearrange values --------------===//
//
// Joining and cutting along the last axis, taking and placing positions,
// rotating pairs; and the converses that reverse mode needs.
//
//===----------------------------------------------------------------------===//
#include "Dispatch.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fla;
using namespace fla::interp;

namespace {
/// A value seen as rows along its last axis, and parts of those rows. A part
/// that lacks the last axis counts as one element of it.
struct Rows {
  int64_t width, rows;

  explicit Rows(const Shape &joined) : width(joined.sizes.empty() ? 1 : joined.sizes.back()), rows(width == 0 ? 0 : joined.count() / width) {}

  /// Elements of a row that a part holds, or -1 if the part does not fit.
  int64_t widthOf(const Shape &part, const Shape &joined) const {
    int64_t own = part.rank() < joined.rank() ? 1 : part.sizes.back();
    return part.count() == rows * own ? own : -1;
  }
};
} // namespace

static llvm::Error misfit(int64_t width) {
  return llvm::createStringError("expected parts of " + llvm::Twine(width) + " elements in all");
}

template <class S> static Handled concat(ConcatOp op, Environment<S> &env, const Shape &shape) {
  Tensor<S> result(shape);
  Rows joined(shape);
  int64_t column = 0;
  for (Value part : op.getParts()) {
    const Tensor<S> &source = env[part];
    int64_t own = joined.widthOf(source.shape, shape);
    if (own < 0 || column + own > joined.width)
      return misfit(joined.width);
    for (int64_t row = 0; row < joined.rows; ++row)
      for (int64_t i = 0; i < own; ++i)
        result[row * joined.width + column + i] = source[row * own + i];
    column += own;
  }
  return column == joined.width ? bind(op, env, result) : misfit(joined.width);
}

template <class S> static Handled split(SplitOp op, Environment<S> &env) {
  const Tensor<S> &value = env[op.getValue()];
  Rows joined(value.shape);
  llvm::SmallVector<Tensor<S>> parts;
  int64_t column = 0;
  for (Value part : op.getParts()) {
    llvm::Expected<Shape> shape = env.shape(part);
    if (!shape)
      return shape.takeError();
    int64_t own = joined.widthOf(*shape, value.shape);
    if (own < 0 || column + own > joined.width)
      return misfit(joined.width);
    parts.emplace_back(*shape);
    for (int64_t row = 0; row < joined.rows; ++row)
      for (int64_t i = 0; i < own; ++i)
        parts.back()[row * own + i] = value[row * joined.width + column + i];
    column += own;
  }
  return column == joined.width ? bindAll<S>(op, env, parts) : misfit(joined.width);
}

//===----------------------------------------------------------------------===//
// Positions
//===----------------------------------------------------------------------===//

namespace {
/// One position of an axis that a smaller value lacks.
struct Position {
  int64_t inner, extent, position;

  /// Where element i of the smaller value lies in the larger one.
  int64_t operator()(int64_t i) const { return ((i / inner) * extent + position) * inner + i % inner; }
};
} // namespace

static llvm::Expected<Position> positionIn(const Shape &large, const Shape &small, int64_t position) {
  size_t axis = 0;
  while (axis < small.rank() && large.names[axis] == small.names[axis])
    ++axis;
  if (large.rank() != small.rank() + 1 || large.count() != small.count() * large.sizes[axis])
    return llvm::createStringError("expected values that differ by one dimension");
  if (position < 0 || position >= large.sizes[axis])
    return llvm::createStringError("expected a position below " + llvm::Twine(large.sizes[axis]) + ", got " + llvm::Twine(position));
  return Position{large.strides()[axis], large.sizes[axis], position};
}

template <class S> static Handled index(IndexOp op, Environment<S> &env, const Shape &shape) {
  const Tensor<S> &value = env[op.getValue()];
  llvm::Expected<Position> at = positionIn(value.shape, shape, op.getPosition());
  if (!at)
    return at.takeError();
  Tensor<S> result(shape);
  for (int64_t i = 0; i < result.size(); ++i)
    result[i] = value[(*at)(i)];
  return bind(op, env, result);
}

template <class S> static Handled place(PlaceOp op, Environment<S> &env, const Shape &shape) {
  const Tensor<S> &value = env[op.getValue()];
  llvm::Expected<Position> at = positionIn(shape, value.shape, op.getPosition());
  if (!at)
    return at.takeError();
  Tensor<S> result(shape);
  for (int64_t i = 0; i < value.size(); ++i)
    result[(*at)(i)] = value[i];
  return bind(op, env, result);
}

//===----------------------------------------------------------------------===//
// Pairs
//===----------------------------------------------------------------------===//

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

template <class S> static Handled rotateGrad(RotateGradOp op, Environment<S> &env, const Shape &shape) {
  const Tensor<S> &d = env[op.getGradient()], &r = env[op.getRotated()];
  Tensor<S> result(shape);
  if (d.size() != 2 * result.size() || d.size() != r.size())
    return llvm::createStringError("expected an angle for each pair of elements");
  for (int64_t i = 0; i < result.size(); ++i)
    result[i] = d[2 * i + 1] * r[2 * i] - d[2 * i] * r[2 * i + 1];
  return bind(op, env, result);
}

template <class S> static Handled regroup(Value value, Operation *op, Environment<S> &env, const Shape &shape) {
  if (env[value].size() != shape.count())
    return llvm::createStringError("expected as many elements as the operand has");
  return bind(op, env, reshape(env[value], shape));
}

template <class S> Handled fla::interp::evaluateShapes(Operation *op, Environment<S> &env) {
  if (!isa<FLADialect>(op->getDialect()) || op->getNumResults() == 0)
    return false;
  llvm::Expected<Shape> expected = env.shape(op->getResult(0));
  if (!expected)
    return expected.takeError();
  const Shape &shape = *expected;
  return llvm::TypeSwitch<Operation *, Handled>(op)
      .Case([&](ConcatOp o) { return concat(o, env, shape); })
      .Case([&](SplitOp o) { return split(o, env); })
      .Case([&](IndexOp o) { return index(o, env, shape); })
      .Case([&](PlaceOp o) { return place(o, env, shape); })
      .Case([&](RotateOp o) { return rotate(o, env); })
      .Case([&](RotateGradOp o) { return rotateGrad(o, env, shape); })
      .template Case<FlattenOp, RenameOp, UnflattenOp>([&](auto o) { return regroup(o.getValue(), o, env, shape); })
      .Default([](Operation *) -> Handled { return false; });
}

FLA_INSTANTIATE_PART(evaluateShapes)
