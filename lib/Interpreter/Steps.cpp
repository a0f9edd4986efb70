//===- Steps.cpp - a definition, token by token ---------------------------===//
#include "Arguments.h"

using namespace mlir;
using namespace fla;
using namespace fla::interp;

namespace {

/// A step with everything that does not change from token to token.
template <class S, class StepOp> class StepRunner {
public:
  StepRunner(StepOp op, int64_t tokens, const Sizes &dims) : op(op), tokens(tokens), dims(dims) {}

  llvm::Expected<StepResult<S>> run(const Named<S> &values) {
    if (llvm::Error error = prepare(values))
      return std::move(error);
    for (int64_t t = 0; t < tokens; ++t)
      if (llvm::Error error = step(t))
        return std::move(error);
    for (unsigned i = 0; i < op.getNumStates(); ++i)
      result.states[op.getArgName(i).str()] = arguments[i];
    return std::move(result);
  }

private:
  llvm::Error prepare(const Named<S> &values) {
    for (auto [i, arg] : llvm::enumerate(op.getStep().getArguments())) {
      llvm::Expected<Shape> shape = shapeOf(arg.getType(), dims);
      if (!shape)
        return shape.takeError();
      bool state = i < op.getNumStates();
      std::optional<double> fallback = numberAttr(op.getArgAttr(i), state ? "init" : "default");
      if (state && !fallback)
        fallback = 0.0;
      auto value = argument<S>(op.getArgName(i), values, op.isPerToken(i) ? shape->outer(kTokens, tokens) : *shape, fallback);
      if (!value)
        return value.takeError();
      arguments.push_back(std::move(*value));
    }
    for (Value output : op.getYield().getOutputs()) {
      llvm::Expected<Shape> shape = shapeOf(output.getType(), dims);
      if (!shape)
        return shape.takeError();
      result.outputs.emplace_back(shape->outer(kTokens, tokens));
    }
    return llvm::Error::success();
  }

  llvm::Error step(int64_t t) {
    Environment<S> env(dims);
    for (auto [i, arg] : llvm::enumerate(op.getStep().getArguments()))
      if (llvm::Error error = env.set(arg, op.isPerToken(i) ? arguments[i].row(t) : arguments[i]))
        return error;
    if (llvm::Error error = evaluateBlock(op.getStep(), env))
      return error;
    for (auto [state, next] : llvm::zip(arguments, op.getYield().getStates()))
      state = env[next];
    for (auto [output, value] : llvm::zip(result.outputs, op.getYield().getOutputs()))
      output.setRow(t, env[value]);
    return llvm::Error::success();
  }

  StepOp op;
  int64_t tokens;
  const Sizes &dims;
  std::vector<Tensor<S>> arguments; ///< states first; they change
  StepResult<S> result;
};

} // namespace

template <class S>
llvm::Expected<StepResult<S>> fla::interp::runSteps(Operation *definition, const Named<S> &values, int64_t tokens, const Sizes &dims) {
  if (auto op = dyn_cast<RecurrenceOp>(definition))
    return StepRunner<S, RecurrenceOp>(op, tokens, dims).run(values);
  if (auto op = dyn_cast<ProgramOp>(definition))
    return StepRunner<S, ProgramOp>(op, tokens, dims).run(values);
  return errorAt(definition, "expected 'fla.recurrence' or 'fla.program'");
}

template llvm::Expected<StepResult<double>> fla::interp::runSteps(Operation *, const Named<double> &, int64_t, const Sizes &);
template llvm::Expected<StepResult<Var>> fla::interp::runSteps(Operation *, const Named<Var> &, int64_t, const Sizes &);
