//===- ProgramBuilder.cpp - the program that normalisation builds ---------===//
#include "ProgramBuilder.h"
#include <cmath>

using namespace mlir;
using namespace fla;

ProgramBuilder::ProgramBuilder(RecurrenceOp recurrence)
    : recurrence(recurrence), builder(recurrence), available(recurrence.getNumStates()) {
  program = ProgramOp::create(builder, recurrence.getLoc(), recurrence.getSymNameAttr(), recurrence.getNumStatesAttr(),
                              recurrence.getArgNamesAttr(), recurrence.getArgAttrsAttr(), recurrence.getSymVisibilityAttr());
  Block *body = builder.createBlock(&program.getBody());
  for (BlockArgument arg : recurrence.getStep().getArguments()) {
    mapping.map(arg, body->addArgument(arg.getType(), arg.getLoc()));
    llvm::SmallBitVector bits(recurrence.getNumStates());
    if (arg.getArgNumber() < recurrence.getNumStates())
      bits.set(arg.getArgNumber());
    deps[arg] = bits;
  }
  for (Operation &op : recurrence.getStep().without_terminator()) {
    llvm::SmallBitVector bits(recurrence.getNumStates());
    for (Value operand : op.getOperands())
      bits |= deps[operand];
    for (Value result : op.getResults())
      deps[result] = bits;
  }
  builder.setInsertionPointToEnd(body);
}

Value ProgramBuilder::refuse(BlockArgument state, Operation *user) {
  if (!refused) {
    InFlightDiagnostic diag = mlir::emitError(user ? user->getLoc() : recurrence.getLoc())
                              << "state '" << recurrence.getArgName(state.getArgNumber())
                              << "' is used as a whole; a matrix state is only seen through reads (fla.read)";
    diag.attachNote(state.getLoc()) << "the state is declared here";
  }
  refused = true;
  return algebra(state.getLoc()).splat(0.0, state.getType());
}

Value ProgramBuilder::materialize(Value value, Operation *user) {
  if (opaque.contains(value))
    return refuse(cast<BlockArgument>(value), user);
  if (Value copy = mapping.lookupOrNull(value))
    return copy;
  Operation *op = value.getDefiningOp();
  // What takes a version of a state is to blame, not what makes the version.
  Operation *blame = isa<GateOp, WriteOp>(op) && user ? user : op;
  for (Value operand : op->getOperands())
    if (Value copy = materialize(operand, blame); !mapping.contains(operand))
      mapping.map(operand, copy);
  return builder.clone(*op, mapping)->getResult(cast<OpResult>(value).getResultNumber());
}

/// The domain that an argument or an `assume` declares.
static bool isNonNegative(RecurrenceOp recurrence, Value value) {
  FloatAttr min;
  if (auto arg = dyn_cast<BlockArgument>(value))
    min = recurrence.getArgAttr(arg.getArgNumber()).getAs<FloatAttr>("min");
  else if (auto assume = value.getDefiningOp<AssumeOp>())
    min = assume.getMinAttr();
  else if (Operation *op = value.getDefiningOp(); isa_and_nonnull<IndexOp, RenameOp, BroadcastOp>(op))
    return isNonNegative(recurrence, op->getOperand(0));
  return min && min.getValueAsDouble() >= 0;
}

Value ProgramBuilder::logarithm(Value factor) {
  Algebra alg(builder, factor.getLoc());
  Operation *op = factor.getDefiningOp();
  if (auto splat = getSplat(factor))
    return *splat >= 0 ? alg.splat(std::log(*splat), factor.getType()) : Value();
  auto both = [&](Value a, Value b) -> std::pair<Value, Value> { return {logarithm(a), logarithm(b)}; };
  if (auto exp = dyn_cast_or_null<math::ExpOp>(op))
    return materialize(exp.getOperand());
  if (auto exp2 = dyn_cast_or_null<math::Exp2Op>(op))
    return alg.mul(materialize(exp2.getOperand()), alg.constant(M_LN2));
  if (auto sigmoid = dyn_cast_or_null<SigmoidOp>(op))
    return alg.neg(SoftplusOp::create(builder, factor.getLoc(), alg.neg(materialize(sigmoid.getValue()))));
  if (isa_and_nonnull<arith::MulFOp, ScaleOp>(op)) {
    auto [a, b] = both(op->getOperand(0), op->getOperand(1));
    return a && b ? alg.add(a, b) : Value();
  }
  if (auto sqrt = dyn_cast_or_null<math::SqrtOp>(op)) {
    Value log = logarithm(sqrt.getOperand());
    return log ? alg.mul(log, alg.constant(0.5)) : Value();
  }
  if (auto broadcast = dyn_cast_or_null<BroadcastOp>(op)) {
    Value log = logarithm(broadcast.getValue());
    return log ? alg.broadcast(log, factor.getType()) : Value();
  }
  if (auto rename = dyn_cast_or_null<RenameOp>(op)) {
    Value log = logarithm(rename.getValue());
    return log ? RenameOp::create(builder, factor.getLoc(), factor.getType(), log).getResult() : Value();
  }
  if (auto select = dyn_cast_or_null<arith::SelectOp>(op)) {
    auto [a, b] = both(select.getTrueValue(), select.getFalseValue());
    return a && b ? arith::SelectOp::create(builder, factor.getLoc(), materialize(select.getCondition()), a, b).getResult() : Value();
  }
  if (isNonNegative(recurrence, factor))
    return math::LogOp::create(builder, factor.getLoc(), materialize(factor));
  return {};
}

LogicalResult ProgramBuilder::finish(ArrayRef<Value> nextStates) {
  SmallVector<Value> outputs;
  for (Value output : recurrence.getYield().getOutputs())
    outputs.push_back(materialize(output, recurrence.getYield()));
  if (refused)
    return failure();
  YieldOp::create(builder, recurrence.getYield().getLoc(), nextStates, outputs);
  return success();
}
