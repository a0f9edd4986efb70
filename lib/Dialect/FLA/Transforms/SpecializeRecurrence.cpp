//===- SpecializeRecurrence.cpp - fixes absent inputs to their defaults ---===//
//
//   (%g : f64 {default = 0.0})  %a = math.exp %g   %S1 = fla.gate %S, %a
//   ==> absent=g                                   %S1 = %S
//
// For examples see test/Dialect/FLA/Transforms/specialize-recurrence.mlir.
//===----------------------------------------------------------------------===//
#include "fla/Dialect/FLA/IR/Algebra.h"
#include "fla/Dialect/FLA/Transforms/Passes.h"
#include <cmath>

using namespace mlir;
using namespace fla;

namespace fla {
#define GEN_PASS_DEF_SPECIALIZERECURRENCE
#include "fla/Dialect/FLA/Transforms/Passes.h.inc"
} // namespace fla

/// Removes argument `i`, putting its default in its place.
static LogicalResult dropArgument(RecurrenceOp op, unsigned i) {
  auto value = op.getArgAttr(i).getAs<FloatAttr>("default");
  if (!value)
    return op.emitError() << "expected the argument '" << op.getArgName(i) << "' that is left out to have a default, got none";
  BlockArgument arg = op.getStep().getArgument(i);
  OpBuilder builder = OpBuilder::atBlockBegin(&op.getStep());
  Algebra alg(builder, arg.getLoc());
  arg.replaceAllUsesWith(alg.splat(value.getValueAsDouble(), arg.getType()));
  op.getStep().eraseArgument(i);
  auto without = [&](ArrayAttr list) {
    SmallVector<Attribute> kept(list.getValue());
    kept.erase(kept.begin() + i);
    return ArrayAttr::get(op.getContext(), kept);
  };
  op.setArgNamesAttr(without(op.getArgNames()));
  op.setArgAttrsAttr(without(op.getArgAttrs()));
  return success();
}

/// Folds what a constant makes trivial: exp(0), products with 1, sums with 0.
static Value simplify(Operation *op, Algebra &alg) {
  Type type = op->getResult(0).getType();
  auto splat = [&](unsigned i) { return getSplat(op->getOperand(i)); };
  if (isa<math::ExpOp>(op) && splat(0))
    return alg.splat(std::exp(*splat(0)), type);
  if (isa<SoftplusOp>(op) && splat(0))
    return alg.splat(std::log1p(std::exp(*splat(0))), type);
  if (isa<SigmoidOp>(op) && splat(0))
    return alg.splat(1.0 / (1.0 + std::exp(-*splat(0))), type);
  if (isa<arith::NegFOp>(op) && splat(0))
    return alg.splat(-*splat(0), type);
  if (isa<GateOp, ScaleOp, arith::MulFOp>(op)) {
    if (splat(1) == 1.0)
      return op->getOperand(0);
    if (splat(0) == 1.0 && op->getOperand(1).getType() == type)
      return op->getOperand(1);
    if (splat(0) && splat(1))
      return alg.splat(*splat(0) * *splat(1), type);
  }
  if (isa<arith::AddFOp>(op)) {
    if (splat(0) == 0.0)
      return op->getOperand(1);
    if (splat(1) == 0.0)
      return op->getOperand(0);
  }
  if (isa<arith::SubFOp>(op) && splat(1) == 0.0)
    return op->getOperand(0);
  return {};
}

namespace {
struct SpecializeRecurrence : fla::impl::SpecializeRecurrenceBase<SpecializeRecurrence> {
  using SpecializeRecurrenceBase::SpecializeRecurrenceBase;

  void runOnOperation() override {
    for (RecurrenceOp op : getOperation().getOps<RecurrenceOp>())
      if (failed(specialize(op)))
        return signalPassFailure();
  }

  LogicalResult specialize(RecurrenceOp op) {
    for (const std::string &name : absent) {
      auto names = op.getArgNames().getAsValueRange<StringAttr>();
      auto it = llvm::find(names, name);
      if (it == names.end() || std::distance(names.begin(), it) < static_cast<int64_t>(op.getNumStates()))
        return op.emitError() << "expected the name of an input to leave out, got '" << name << "'";
      if (failed(dropArgument(op, std::distance(names.begin(), it))))
        return failure();
    }
    for (Operation &inner : llvm::make_early_inc_range(op.getStep().without_terminator())) {
      OpBuilder builder(&inner);
      Algebra alg(builder, inner.getLoc());
      if (Value simple = simplify(&inner, alg)) {
        inner.getResult(0).replaceAllUsesWith(simple);
        inner.erase();
      }
    }
    return success();
  }
};
} // namespace
