//===- ElementwiseState.cpp - states without reads ------------------------===//
#include "ElementwiseState.h"

using namespace mlir;
using namespace fla;

namespace {
/// a * state + b with values of the step; `hasState` tells a = 0 from a = 1 (null).
struct Linear {
  bool hasState = false;
  Value a, b; ///< null: 1 and 0
  bool fullDecay = false; ///< a factor of `a` decays each element of a matrix by itself
};

class LinearAnalysis {
public:
  LinearAnalysis(ProgramBuilder &program, BlockArgument state) : program(program), state(state), alg(program.algebra(state.getLoc())) {}
  std::optional<Linear> evaluate(Value value);

private:
  std::optional<Linear> sum(Linear x, Linear y);
  std::optional<Linear> product(Linear x, Linear y);
  std::optional<Linear> choose(arith::SelectOp op);
  Value coefficient(const Linear &x, Type type) { return !x.hasState ? alg.splat(0.0, type) : x.a ? x.a : alg.splat(1.0, type); }
  ProgramBuilder &program;
  BlockArgument state;
  Algebra alg;
};
} // namespace

std::optional<Linear> LinearAnalysis::sum(Linear x, Linear y) {
  Linear result{x.hasState || y.hasState, {}, alg.add(x.b, y.b), x.fullDecay || y.fullDecay};
  if (x.hasState && y.hasState)
    result.a = alg.add(x.a ? x.a : alg.constant(1.0), y.a ? y.a : alg.constant(1.0));
  else
    result.a = x.hasState ? x.a : y.a;
  return result;
}

std::optional<Linear> LinearAnalysis::product(Linear x, Linear y) {
  if (x.hasState)
    std::swap(x, y);
  if (x.hasState)
    return std::nullopt;
  // A row decay times a column decay is separable and stays a matrix state's.
  bool isFull = y.hasState && getDims(x.b).size() == 2 && !getSplat(x.b) && !x.b.getDefiningOp<BroadcastOp>();
  return Linear{y.hasState, y.a ? alg.mul(y.a, x.b) : x.b, alg.mul(y.b, x.b), y.fullDecay || isFull};
}

std::optional<Linear> LinearAnalysis::choose(arith::SelectOp op) {
  if (program.dependsOn(op.getCondition(), state))
    return std::nullopt;
  auto x = evaluate(op.getTrueValue()), y = evaluate(op.getFalseValue());
  if (!x || !y)
    return std::nullopt;
  Type type = op.getType();
  Value condition = program.materialize(op.getCondition());
  auto select = [&](Value a, Value b) {
    return arith::SelectOp::create(program.getBuilder(), op.getLoc(), condition, alg.broadcast(a, type), alg.broadcast(b, type)).getResult();
  };
  auto orZero = [&](Value value) { return value ? value : alg.splat(0.0, type); };
  return Linear{true, select(coefficient(*x, type), coefficient(*y, type)), select(orZero(x->b), orZero(y->b)), true};
}

std::optional<Linear> LinearAnalysis::evaluate(Value value) {
  if (value == state)
    return Linear{true, {}, {}};
  if (!program.dependsOn(value, state))
    return program.isAvailable(value) ? std::optional(Linear{false, {}, program.materialize(value)}) : std::nullopt;
  Operation *op = value.getDefiningOp();
  if (auto select = dyn_cast<arith::SelectOp>(op))
    return choose(select);
  if (auto assume = dyn_cast<AssumeOp>(op))
    return evaluate(assume.getValue());
  if (isa<arith::AddFOp, arith::SubFOp, arith::MulFOp, ScaleOp, GateOp>(op)) {
    auto x = evaluate(op->getOperand(0)), y = evaluate(op->getOperand(1));
    if (!x || !y)
      return std::nullopt;
    if (isa<arith::SubFOp>(op))
      y = product(*y, Linear{false, {}, alg.constant(-1.0)});
    return isa<arith::AddFOp, arith::SubFOp>(op) ? sum(*x, *y) : product(*x, *y);
  }
  if (isa<arith::NegFOp>(op)) {
    auto x = evaluate(op->getOperand(0));
    return x ? product(*x, Linear{false, {}, alg.constant(-1.0)}) : std::nullopt;
  }
  if (auto write = dyn_cast<WriteOp>(op)) {
    auto x = evaluate(write.getState());
    if (!x || program.dependsOn(write.getX(), state) || program.dependsOn(write.getY(), state))
      return std::nullopt;
    Value term = OuterOp::create(program.getBuilder(), op->getLoc(), state.getType(), program.materialize(write.getX()), program.materialize(write.getY()));
    return sum(*x, Linear{false, {}, term});
  }
  return std::nullopt;
}

/// state + a, or the state itself; null a means 0.
static std::optional<Value> matchShifted(ProgramBuilder &program, BlockArgument state, Value value) {
  if (value == state)
    return Value();
  if (auto add = value.getDefiningOp<arith::AddFOp>())
    for (auto [x, a] : {std::pair(add.getLhs(), add.getRhs()), std::pair(add.getRhs(), add.getLhs())})
      if (x == state && !program.dependsOn(a, state))
        return a;
  return std::nullopt;
}

/// logaddexp(state + a, b) and maximum(state + a, b).
static Value matchSemiring(ProgramBuilder &program, BlockArgument state, Value next) {
  Operation *op = next.getDefiningOp();
  if (!isa_and_nonnull<LogAddExpOp, arith::MaximumFOp, arith::MaxNumFOp>(op))
    return {};
  ScanKind kind = isa<LogAddExpOp>(op) ? ScanKind::log : ScanKind::max;
  Algebra alg = program.algebra(op->getLoc());
  for (auto [shifted, input] : {std::pair(op->getOperand(0), op->getOperand(1)), std::pair(op->getOperand(1), op->getOperand(0))}) {
    auto a = matchShifted(program, state, shifted);
    if (!a || program.dependsOn(input, state))
      continue;
    Value decay = *a ? program.materialize(*a) : alg.splat(0.0, state.getType());
    return ScanOp::create(program.getBuilder(), op->getLoc(), kind, program.getState(state), decay, program.materialize(input));
  }
  return {};
}

/// Sums of outer products are what a matrix state takes; null is the empty sum.
static bool isSumOfOuterProducts(Value value) {
  Operation *op = value ? value.getDefiningOp() : nullptr;
  if (!value || isa_and_nonnull<OuterOp>(op))
    return true;
  if (isa_and_nonnull<arith::AddFOp, arith::SubFOp>(op))
    return isSumOfOuterProducts(op->getOperand(0)) && isSumOfOuterProducts(op->getOperand(1));
  return isa_and_nonnull<ScaleOp, arith::NegFOp>(op) && isSumOfOuterProducts(op->getOperand(0));
}

Value fla::normalizeElementwiseState(ProgramBuilder &program, BlockArgument state, Value next) {
  if (Value scan = matchSemiring(program, state, next))
    return scan;
  auto linear = LinearAnalysis(program, state).evaluate(next);
  if (!linear)
    return {};
  Algebra alg = program.algebra(state.getLoc());
  Type type = state.getType();
  if (getDims(type).size() == 2 && linear->hasState && !linear->fullDecay && isSumOfOuterProducts(linear->b))
    return {};
  Value decay = !linear->hasState ? alg.constant(0.0) : linear->a ? linear->a : alg.constant(1.0);
  Value input = linear->b ? linear->b : alg.constant(0.0);
  return ScanOp::create(program.getBuilder(), next.getLoc(), ScanKind::linear, program.getState(state), alg.broadcast(decay, type), alg.broadcast(input, type));
}
