//===- Differentiate.cpp - reverse programs -------------------------------===//
//
//   chunk.program @f tokens(%q) carries(%S) -> (o, S, S)
//   ==> and
//   chunk.program @f_backward reverse tokens(%q, %d_o) carries(%d_S) saved(%S) -> (d_q, d_S)
//
// For examples see test/Dialect/Chunk/Transforms/differentiate.mlir.
//===----------------------------------------------------------------------===//
#include "ReverseRules.h"
#include "fla/Dialect/Chunk/Transforms/Passes.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace fla;
using namespace fla::chunk;

namespace fla {
#define GEN_PASS_DEF_DIFFERENTIATE
#include "fla/Dialect/Chunk/Transforms/Passes.h.inc"
} // namespace fla

namespace {
class ReverseProgram {
public:
  explicit ReverseProgram(chunk::ProgramOp forward) : forward(forward), builder(forward->getContext()), gradients(builder) {
    builder.setInsertionPointAfter(forward);
  }
  LogicalResult build();

private:
  void createProgram();
  Value addArgument(Type type, const Twine &name, DictionaryAttr attrs = {});
  Value copyOf(BlockArgument arg) { return mapping.lookup(Value(arg)); }
  bool isDifferentiable(BlockArgument arg) { return !forward.getArgAttr(arg.getArgNumber()).contains("value"); }
  StringRef nameOf(BlockArgument arg) { return forward.getArgName(arg.getArgNumber()); }

  chunk::ProgramOp forward, reverse;
  OpBuilder builder;
  IRMapping mapping;
  Gradients gradients;
  SmallVector<Attribute> names, attrs, results;
  SmallVector<Value> outputGradients, carryGradients;
};
} // namespace

Value ReverseProgram::addArgument(Type type, const Twine &name, DictionaryAttr attributes) {
  names.push_back(builder.getStringAttr(name));
  attrs.push_back(attributes ? attributes : builder.getDictionaryAttr({}));
  return reverse.getStep().addArgument(type, forward.getLoc());
}

/// Arguments: the forward ones, gradients of its outputs, gradients of its next
/// carries as carries, and what it saved of its carries.
void ReverseProgram::createProgram() {
  chunk::YieldOp yield = forward.getYield();
  for (BlockArgument arg : forward.getTokens())
    results.push_back(builder.getStringAttr("d_" + nameOf(arg)));
  for (BlockArgument arg : forward.getCarries())
    results.push_back(builder.getStringAttr("d_" + nameOf(arg)));
  for (BlockArgument arg : forward.getParams())
    if (isDifferentiable(arg))
      results.push_back(builder.getStringAttr("d_" + nameOf(arg)));
  reverse = chunk::ProgramOp::create(builder, forward.getLoc(), (forward.getSymName() + "_backward").str(), builder.getArrayAttr({}),
                                     builder.getArrayAttr({}), forward.getNumTokens() + yield.getTokens().size(), forward.getNumParams(),
                                     forward.getNumCarries(), builder.getArrayAttr(results), /*reverse=*/true);
  builder.createBlock(&reverse.getBody());
  auto copy = [&](BlockArgument arg) {
    mapping.map(Value(arg), addArgument(arg.getType(), nameOf(arg), forward.getArgAttr(arg.getArgNumber())));
  };
  llvm::for_each(forward.getTokens(), copy);
  for (auto [i, output] : llvm::enumerate(yield.getTokens()))
    outputGradients.push_back(addArgument(output.getType(), "d_" + forward.getResultName(i)));
  llvm::for_each(forward.getParams(), copy);
  for (BlockArgument arg : forward.getCarries())
    carryGradients.push_back(addArgument(arg.getType(), "d_" + nameOf(arg)));
  llvm::for_each(forward.getCarries(), copy);
  reverse.setArgNamesAttr(builder.getArrayAttr(names));
  reverse.setArgAttrsAttr(builder.getArrayAttr(attrs));
}

LogicalResult ReverseProgram::build() {
  createProgram();
  SmallVector<Operation *> copies;
  for (Operation &op : forward.getStep().without_terminator())
    copies.push_back(builder.clone(op, mapping));
  chunk::YieldOp yield = forward.getYield();
  for (auto [output, gradient] : llvm::zip(yield.getTokens(), outputGradients))
    gradients.add(mapping.lookup(output), gradient);
  for (auto [carry, gradient] : llvm::zip(yield.getCarries(), carryGradients))
    gradients.add(mapping.lookup(carry), gradient);
  for (Operation *op : llvm::reverse(copies))
    if (failed(gradients.propagate(op)))
      return failure();
  SmallVector<Value> tokens, carries, sums;
  for (BlockArgument arg : forward.getTokens())
    tokens.push_back(gradients.getOrZero(copyOf(arg)));
  for (BlockArgument arg : forward.getCarries())
    carries.push_back(gradients.getOrZero(copyOf(arg)));
  for (BlockArgument arg : forward.getParams())
    if (isDifferentiable(arg))
      sums.push_back(gradients.getOrZero(copyOf(arg)));
  chunk::YieldOp::create(builder, yield.getLoc(), tokens, carries, ValueRange(), sums);
  return success();
}

namespace {
struct Differentiate : fla::impl::DifferentiateBase<Differentiate> {
  using DifferentiateBase::DifferentiateBase;

  void runOnOperation() override {
    if (forward != "keep" && forward != "drop" && forward != "replay") {
      getOperation().emitError() << "expected forward = keep, drop or replay, got " << forward.getValue();
      return signalPassFailure();
    }
    for (auto program : llvm::make_early_inc_range(getOperation().getOps<chunk::ProgramOp>())) {
      if (program.getReverse())
        continue;
      if (failed(ReverseProgram(program).build()))
        return signalPassFailure();
      if (forward == "drop")
        program.erase();
      else if (forward == "replay")
        program->setAttr("replay", UnitAttr::get(&getContext()));
    }
  }
};
} // namespace
