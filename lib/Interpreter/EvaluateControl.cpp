//===- EvaluateControl.cpp - loops, branches and slices -------------------===//
//
// What kernels use beside tiles: `scf`, and `tensor` operations that take
// tiles apart and put them together.
//
//===----------------------------------------------------------------------===//
#include "Dispatch.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fla;
using namespace fla::interp;

template <class S> static int64_t indexOf(Value value, const Environment<S> &env) {
  return static_cast<int64_t>(valueOf(env[value][0]));
}

template <class S> static llvm::Error setAll(ValueRange values, llvm::ArrayRef<Tensor<S>> tensors, Environment<S> &env) {
  for (auto [value, tensor] : llvm::zip(values, tensors))
    if (llvm::Error error = env.set(value, tensor))
      return error;
  return llvm::Error::success();
}

template <class S> static llvm::SmallVector<Tensor<S>> getAll(ValueRange values, const Environment<S> &env) {
  llvm::SmallVector<Tensor<S>> tensors;
  for (Value value : values)
    tensors.push_back(env[value]);
  return tensors;
}

template <class S> static Handled loop(scf::ForOp op, Environment<S> &env) {
  int64_t step = indexOf(op.getStep(), env);
  if (step <= 0)
    return llvm::createStringError("expected a positive step");
  llvm::SmallVector<Tensor<S>> carried = getAll(op.getInitArgs(), env);
  int64_t end = indexOf(op.getUpperBound(), env);
  for (int64_t i = indexOf(op.getLowerBound(), env); i < end; i += step) {
    if (llvm::Error error = env.set(op.getInductionVar(), Tensor<S>::scalar(S(double(i)))))
      return std::move(error);
    if (llvm::Error error = setAll<S>(op.getRegionIterArgs(), carried, env))
      return std::move(error);
    if (llvm::Error error = evaluateBlock(*op.getBody(), env))
      return std::move(error);
    carried = getAll(op.getBody()->getTerminator()->getOperands(), env);
  }
  return bindAll<S>(op, env, carried);
}

template <class S> static Handled branch(scf::IfOp op, Environment<S> &env) {
  Region &region = valueOf(env[op.getCondition()][0]) != 0.0 ? op.getThenRegion() : op.getElseRegion();
  if (region.empty())
    return true;
  if (llvm::Error error = evaluateBlock(region.front(), env))
    return std::move(error);
  auto results = getAll(region.front().getTerminator()->getOperands(), env);
  return bindAll<S>(op, env, results);
}

//===----------------------------------------------------------------------===//
// Slices
//===----------------------------------------------------------------------===//

namespace {
/// A box of a tensor: for each of its axes a start, a size and a step.
struct Box {
  llvm::SmallVector<int64_t, 4> offsets, sizes, steps;

  int64_t count() const {
    int64_t product = 1;
    for (int64_t size : sizes)
      product *= size;
    return product;
  }
  /// Position in a tensor with these strides of the box's i-th element.
  int64_t position(int64_t i, llvm::ArrayRef<int64_t> strides) const {
    int64_t at = 0;
    for (int64_t axis = static_cast<int64_t>(sizes.size()) - 1; axis >= 0; --axis) {
      at += (offsets[axis] + (i % sizes[axis]) * steps[axis]) * strides[axis];
      i /= sizes[axis];
    }
    return at;
  }
};
} // namespace

template <class S> static int64_t number(OpFoldResult value, const Environment<S> &env) {
  if (auto attr = dyn_cast<Attribute>(value))
    return cast<IntegerAttr>(attr).getInt();
  return indexOf(cast<Value>(value), env);
}

template <class S, class Op> static llvm::Expected<Box> boxOf(Op op, const Shape &of, const Environment<S> &env) {
  Box box;
  for (auto [extent, offset, size, step] : llvm::zip(of.sizes, op.getMixedOffsets(), op.getMixedSizes(), op.getMixedStrides())) {
    int64_t o = number(offset, env), n = number(size, env), s = number(step, env);
    if (o < 0 || n < 0 || (n > 0 && (o + (n - 1) * s >= extent || o + (n - 1) * s < 0)))
      return llvm::createStringError("expected a slice inside the tensor, got offset " + llvm::Twine(o) + ", size " + llvm::Twine(n) + " of " + llvm::Twine(extent));
    box.offsets.push_back(o);
    box.sizes.push_back(n);
    box.steps.push_back(s);
  }
  return box;
}

template <class S> static Handled extract(tensor::ExtractSliceOp op, Environment<S> &env, const Shape &shape) {
  const Tensor<S> &source = env[op.getSource()];
  llvm::Expected<Box> box = boxOf(op, source.shape, env);
  if (!box)
    return box.takeError();
  Tensor<S> result(shape);
  if (box->count() != result.size())
    return llvm::createStringError("expected a slice of the result's size");
  auto strides = source.shape.strides();
  for (int64_t i = 0; i < result.size(); ++i)
    result[i] = source[box->position(i, strides)];
  return bind(op, env, result);
}

template <class S> static Handled insert(tensor::InsertSliceOp op, Environment<S> &env) {
  const Tensor<S> &source = env[op.getSource()];
  Tensor<S> result = env[op.getDest()];
  llvm::Expected<Box> box = boxOf(op, result.shape, env);
  if (!box)
    return box.takeError();
  if (box->count() != source.size())
    return llvm::createStringError("expected a slice of the source's size");
  auto strides = result.shape.strides();
  for (int64_t i = 0; i < source.size(); ++i)
    result[box->position(i, strides)] = source[i];
  return bind(op, env, result);
}

// The position that index operands select.
template <class S> static llvm::Expected<int64_t> elementAt(ValueRange indices, const Shape &shape, const Environment<S> &env) {
  int64_t at = 0;
  for (auto [index, extent] : llvm::zip(indices, shape.sizes)) {
    int64_t i = indexOf(index, env);
    if (i < 0 || i >= extent)
      return llvm::createStringError("expected an index below " + llvm::Twine(extent) + ", got " + llvm::Twine(i));
    at = at * extent + i;
  }
  return at;
}

template <class S> static Handled extractElement(tensor::ExtractOp op, Environment<S> &env) {
  const Tensor<S> &source = env[op.getTensor()];
  llvm::Expected<int64_t> at = elementAt(op.getIndices(), source.shape, env);
  if (!at)
    return at.takeError();
  return bind(op, env, Tensor<S>::scalar(source[*at]));
}

template <class S> static Handled insertElement(tensor::InsertOp op, Environment<S> &env) {
  Tensor<S> result = env[op.getDest()];
  llvm::Expected<int64_t> at = elementAt(op.getIndices(), result.shape, env);
  if (!at)
    return at.takeError();
  result[*at] = env[op.getScalar()][0];
  return bind(op, env, result);
}

template <class S> static Handled fromElements(tensor::FromElementsOp op, Environment<S> &env, const Shape &shape) {
  Tensor<S> result(shape);
  for (auto [i, element] : llvm::enumerate(op.getElements()))
    result[i] = env[element][0];
  return bind(op, env, result);
}

template <class S> Handled fla::interp::evaluateControl(Operation *op, Environment<S> &env) {
  if (auto o = dyn_cast<scf::ForOp>(op))
    return loop(o, env);
  if (auto o = dyn_cast<scf::IfOp>(op))
    return branch(o, env);
  if (!isa<tensor::TensorDialect>(op->getDialect()) || op->getNumResults() != 1)
    return false;
  llvm::Expected<Shape> expected = env.shape(op->getResult(0));
  if (!expected)
    return expected.takeError();
  const Shape &shape = *expected;
  return llvm::TypeSwitch<Operation *, Handled>(op)
      .Case([&](tensor::ExtractSliceOp o) { return extract(o, env, shape); })
      .Case([&](tensor::InsertSliceOp o) { return insert(o, env); })
      .Case([&](tensor::ExtractOp o) { return extractElement(o, env); })
      .Case([&](tensor::InsertOp o) { return insertElement(o, env); })
      .Case([&](tensor::EmptyOp o) { return bind(o, env, Tensor<S>(shape)); })
      .Case([&](tensor::SplatOp o) { return bind(o, env, Tensor<S>(shape, env[o.getInput()][0])); })
      .Case([&](tensor::FromElementsOp o) { return fromElements(o, env, shape); })
      .template Case<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(
          [&](auto o) { return bind(o, env, reshape(env[o.getSrc()], shape)); })
      .Default([](Operation *) -> Handled { return false; });
}

FLA_INSTANTIATE_PART(evaluateControl)
