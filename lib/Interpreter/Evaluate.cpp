//===- Evaluate.cpp - environments and the dispatcher ---------------------===//
#include "Dispatch.h"

#include "fla/Support/Dims.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace fla;
using namespace fla::interp;

// More elements than any test needs, and few enough not to exhaust a machine.
static constexpr int64_t kMaxElements = int64_t(1) << 27;

llvm::Error fla::interp::errorAt(Operation *op, const llvm::Twine &message) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << "'" << op->getName().getStringRef() << "': " << message << " (at " << op->getLoc() << ")";
  return llvm::createStringError(text);
}

static llvm::Expected<Shape> limited(Shape shape, Type type) {
  int64_t count = 1;
  for (int64_t size : shape.sizes) {
    if (size < 0 || (size > 0 && count > kMaxElements / size)) {
      std::string text;
      llvm::raw_string_ostream(text) << type;
      return llvm::createStringError("a value of type " + text + " is too large to interpret");
    }
    count *= size;
  }
  return shape;
}

llvm::Expected<Shape> fla::interp::shapeOf(Type type, const Sizes &sizes) {
  Shape shape;
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return shape;
  auto names = getDims(type);
  if (names.empty()) {
    shape.sizes.assign(tensor.getShape().begin(), tensor.getShape().end());
    return limited(shape, type);
  }
  for (StringAttr name : names) {
    std::optional<int64_t> size = evaluateDim(name.getValue(), sizes);
    if (!size)
      return llvm::createStringError("expected a size for dimension '" + name.getValue() + "', got none");
    shape.append(name.getValue(), *size);
  }
  return limited(shape, type);
}

static std::string describe(const Shape &shape) {
  std::string text = "[";
  for (auto [i, size] : llvm::enumerate(shape.sizes)) {
    text += i ? ", " : "";
    if (i < shape.names.size())
      text += shape.names[i].str() + "=";
    text += std::to_string(size);
  }
  return text + "]";
}

template <class S> llvm::Error Environment<S>::set(Value value, Tensor<S> tensor) {
  llvm::Expected<Shape> expected = shape(value);
  if (!expected)
    return expected.takeError();
  if (expected->sizes != tensor.shape.sizes)
    return llvm::createStringError("expected a value of shape " + describe(*expected) + ", got " + describe(tensor.shape));
  tensor.shape = *expected;
  values[value] = std::move(tensor);
  return llvm::Error::success();
}

template <class S> static Handled evaluateAny(Operation *op, Environment<S> &env) {
  for (auto part : {evaluateArith<S>, evaluateFLA<S>, evaluateShapes<S>, evaluateChunk<S>, evaluateTile<S>, evaluateControl<S>}) {
    Handled handled = part(op, env);
    if (!handled || *handled)
      return handled;
  }
  return false;
}

template <class S> llvm::Error fla::interp::evaluate(Operation *op, Environment<S> &env) {
  if (env.hook && op->getNumRegions() == 0 && !isPure(op))
    return env.hook(op, env);
  for (Value operand : op->getOperands())
    if (!env.contains(operand))
      return errorAt(op, "an operand has no value here");
  Handled handled = evaluateAny(op, env);
  if (!handled)
    return errorAt(op, llvm::toString(handled.takeError()));
  if (*handled)
    return llvm::Error::success();
  return env.hook ? env.hook(op, env) : errorAt(op, "expected an operation that the interpreter knows");
}

template <class S> llvm::Error fla::interp::evaluateBlock(Block &block, Environment<S> &env) {
  for (Operation &op : block.without_terminator())
    if (llvm::Error error = evaluate(&op, env))
      return error;
  return llvm::Error::success();
}

template llvm::Error fla::interp::evaluate(Operation *, Environment<double> &);
template llvm::Error fla::interp::evaluate(Operation *, Environment<Var> &);
template llvm::Error fla::interp::evaluateBlock(Block &, Environment<double> &);
template llvm::Error fla::interp::evaluateBlock(Block &, Environment<Var> &);
template class fla::interp::Environment<double>;
template class fla::interp::Environment<Var>;
