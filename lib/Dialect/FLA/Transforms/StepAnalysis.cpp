//===- StepAnalysis.cpp - what a step does to one state -------------------===//
#include "StepAnalysis.h"
#include "ProgramBuilder.h"

using namespace mlir;
using namespace fla;

static Bad quadratic(Operation *op) {
  return {"product of two values that depend on the state (quadratic in the state); a factor must not depend on it", op};
}

StepAnalysis::StepAnalysis(ProgramBuilder &program, BlockArgument state) : program(program), state(state) { versions.emplace_back(); }

int StepAnalysis::addVersion(Version version) {
  versions.push_back(std::move(version));
  return versions.size() - 1;
}

AbstractValue StepAnalysis::evaluate(Value value) {
  auto it = memo.find(value);
  if (it != memo.end())
    return it->second;
  AbstractValue result = Constant{};
  if (value == state)
    result = VersionRef{0};
  else if (program.dependsOn(value, state))
    result = compute(value.getDefiningOp());
  else if (!program.isAvailable(value))
    result = Bad{"depends on a state that is advanced later", value.getDefiningOp()};
  memo[value] = result;
  return result;
}

static constexpr char kGateOfRead[] = "a decay computed from a read of the state; a decay must not depend on it";

/// A product of the state itself and anything that depends on it.
bool StepAnalysis::isGateOfRead(Operation *op) {
  if (!isa<arith::MulFOp, ScaleOp, GateOp>(op))
    return false;
  auto isState = [&](Value value) { return std::holds_alternative<VersionRef>(evaluate(value)); };
  Value a = op->getOperand(0), b = op->getOperand(1);
  return (isState(a) && program.dependsOn(b, state)) || (isState(b) && program.dependsOn(a, state));
}

AbstractValue StepAnalysis::compute(Operation *op) {
  if (isGateOfRead(op))
    return Bad{kGateOfRead, op};
  for (Value operand : op->getOperands()) {
    AbstractValue value = evaluate(operand);
    if (auto *bad = std::get_if<Bad>(&value))
      return *bad;
  }
  if (isa<arith::AddFOp>(op))
    return computeAdd(op, false);
  if (isa<arith::SubFOp>(op))
    return computeAdd(op, true);
  if (isa<arith::MulFOp, ScaleOp, GateOp>(op))
    return computeScale(op, op->getOperand(0), op->getOperand(1));
  if (auto neg = dyn_cast<arith::NegFOp>(op)) {
    Value minus = program.algebra(op->getLoc()).constant(-1.0);
    AbstractValue value = evaluate(neg.getOperand());
    if (auto *affine = std::get_if<Affine>(&value))
      return scaled(*affine, minus);
    if (auto *writes = std::get_if<Writes>(&value))
      return scaled(*writes, minus);
    return Bad{"the state is negated; a decay cannot be negative", op};
  }
  if (auto div = dyn_cast<arith::DivFOp>(op)) {
    AbstractValue value = evaluate(div.getLhs());
    auto *affine = std::get_if<Affine>(&value);
    if (affine && std::holds_alternative<Constant>(evaluate(div.getRhs())) && getDims(div.getRhs()).empty()) {
      Algebra alg = program.algebra(op->getLoc());
      return scaled(*affine, arith::DivFOp::create(program.getBuilder(), op->getLoc(), alg.constant(1.0), program.materialize(div.getRhs())));
    }
  }
  if (auto assume = dyn_cast<AssumeOp>(op))
    return evaluate(assume.getValue());
  if (auto read = dyn_cast<ReadOp>(op))
    return computeRead(read);
  if (auto write = dyn_cast<WriteOp>(op))
    return computeWrite(write);
  if (auto outer = dyn_cast<OuterOp>(op))
    return computeOuter(op, outer.getX(), outer.getY());
  return Bad{("nonlinear use of a value read from the state by '" + op->getName().getStringRef() +
              "'; only sums, scalar factors, reads and rank-1 writes may feed back").str(), op};
}

//===----------------------------------------------------------------------===//
// Sums
//===----------------------------------------------------------------------===//

/// A matrix that does not depend on the state, as a sum of outer products.
std::variant<Writes, Bad> StepAnalysis::constantWrites(Value value, Operation *user) {
  Operation *op = value.getDefiningOp();
  auto operandWrites = [&](unsigned i) { return constantWrites(op->getOperand(i), user); };
  if (auto outer = dyn_cast_or_null<OuterOp>(op))
    return Writes{{RankOne{{1, program.materialize(outer.getX()), {}}, {0, program.materialize(outer.getY()), {}}}}};
  if (isa_and_nonnull<arith::AddFOp, arith::SubFOp>(op)) {
    auto a = operandWrites(0), b = operandWrites(1);
    if (auto *bad = std::get_if<Bad>(&a))
      return *bad;
    if (auto *bad = std::get_if<Bad>(&b))
      return *bad;
    Writes second = std::get<Writes>(b);
    if (isa<arith::SubFOp>(op))
      second = scaled(second, program.algebra(op->getLoc()).constant(-1.0));
    Writes sum = std::get<Writes>(a);
    sum.terms.append(second.terms);
    return sum;
  }
  if (auto scale = dyn_cast_or_null<ScaleOp>(op); scale && getDims(scale.getFactor()).empty()) {
    auto inner = operandWrites(0);
    if (auto *writes = std::get_if<Writes>(&inner))
      return scaled(*writes, program.materialize(scale.getFactor()));
    return inner;
  }
  return Bad{"a matrix that is not a sum of outer products is added to the state; only elementwise states take such a term", op ? op : user};
}

AbstractValue StepAnalysis::append(int version, const Writes &writes, Operation *op) {
  for (const RankOne &term : writes.terms)
    version = addVersion({Version::Write, version, {}, -1, term, op});
  return VersionRef{version};
}

AbstractValue StepAnalysis::computeAdd(Operation *op, bool negateSecond) {
  Algebra alg = program.algebra(op->getLoc());
  AbstractValue a = evaluate(op->getOperand(0)), b = evaluate(op->getOperand(1));
  Value first = op->getOperand(0), second = op->getOperand(1);
  Value minus = negateSecond ? alg.constant(-1.0) : Value();
  if (std::holds_alternative<VersionRef>(a) && std::holds_alternative<VersionRef>(b))
    return Bad{"sum of two versions of the state", op};
  if (std::holds_alternative<VersionRef>(b) && negateSecond)
    return Bad{"the state is negated; a decay cannot be negative", op};

  bool isMatrix = getDims(op->getResult(0)).size() == 2;
  if (!isMatrix) {
    auto toAffine = [&](AbstractValue &value, Value original, Value factor) -> std::optional<Affine> {
      if (auto *affine = std::get_if<Affine>(&value))
        return factor ? std::get<Affine>(scaled(*affine, factor)) : *affine;
      if (!std::holds_alternative<Constant>(value))
        return std::nullopt;
      Value copy = program.materialize(original);
      return Affine{-1, factor ? alg.neg(copy) : copy, {}};
    };
    auto x = toAffine(a, first, {}), y = toAffine(b, second, minus);
    if (!x || !y || (x->axis >= 0 && y->axis >= 0 && x->axis != y->axis))
      return Bad{"sum of reads from different sides of the state", op};
    x->axis = std::max(x->axis, y->axis);
    x->value = alg.add(x->value, y->value);
    x->reads.append(y->reads);
    return *x;
  }

  auto toWrites = [&](AbstractValue &value, Value original, Value factor) -> std::variant<Writes, Bad> {
    std::variant<Writes, Bad> writes = std::holds_alternative<Writes>(value) ? std::variant<Writes, Bad>(std::get<Writes>(value))
                                                                              : constantWrites(original, op);
    if (auto *terms = std::get_if<Writes>(&writes); terms && factor)
      return scaled(*terms, factor);
    return writes;
  };
  if (std::holds_alternative<VersionRef>(b)) {
    std::swap(a, b);
    std::swap(first, second);
  }
  auto y = toWrites(b, second, minus);
  if (auto *bad = std::get_if<Bad>(&y))
    return *bad;
  if (auto *version = std::get_if<VersionRef>(&a))
    return append(version->index, std::get<Writes>(y), op);
  auto x = toWrites(a, first, {});
  if (auto *bad = std::get_if<Bad>(&x))
    return *bad;
  Writes sum = std::get<Writes>(x);
  sum.terms.append(std::get<Writes>(y).terms);
  return sum;
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

AbstractValue StepAnalysis::scaled(Affine affine, Value factor) {
  Algebra alg = program.algebra(factor.getLoc());
  affine.value = alg.mul(affine.value, factor);
  for (StateRead &read : affine.reads)
    read.query = alg.mul(read.query, factor);
  return affine;
}

Writes StepAnalysis::scaled(Writes writes, Value factor) {
  for (RankOne &term : writes.terms)
    (term.x.reads.empty() ? term.y : term.x) = std::get<Affine>(scaled(term.x.reads.empty() ? term.y : term.x, factor));
  return writes;
}

AbstractValue StepAnalysis::gate(Operation *op, int version, Value factor) {
  if (auto broadcast = factor.getDefiningOp<BroadcastOp>())
    factor = broadcast.getValue();
  if (getDims(factor).size() == 2)
    return Bad{"decay of every element by itself combined with a read; only an elementwise state may decay so", op};
  Value log = program.logarithm(factor);
  if (!log)
    return Bad{"a decay that may be negative; write it as exp, sigmoid, a positive constant, a product of these, "
               "or an argument with min = 0", op};
  int axis = getDims(factor).empty() ? -1 : findDim(state.getType(), getDims(factor)[0].getValue());
  return VersionRef{addVersion({Version::Gate, version, log, axis, {}, op})};
}

AbstractValue StepAnalysis::computeScale(Operation *op, Value value, Value factor) {
  AbstractValue a = evaluate(value), b = evaluate(factor);
  if (std::holds_alternative<Constant>(a)) {
    std::swap(a, b);
    std::swap(value, factor);
  }
  if (!std::holds_alternative<Constant>(b))
    return quadratic(op);
  if (auto *version = std::get_if<VersionRef>(&a))
    return gate(op, version->index, factor);
  if (auto broadcast = factor.getDefiningOp<BroadcastOp>())
    factor = broadcast.getValue();
  bool isScalar = getDims(factor).empty();
  if (auto *affine = std::get_if<Affine>(&a)) {
    if (!isScalar && !affine->reads.empty())
      return Bad{"a read of the state scaled per channel: each channel would get its own transition; scale the key instead, or the value alone", op};
    return scaled(*affine, program.materialize(factor));
  }
  if (auto *writes = std::get_if<Writes>(&a); writes && isScalar)
    return scaled(*writes, program.materialize(factor));
  return Bad{"a rank-1 term scaled per element; scale its vectors instead", op};
}

AbstractValue StepAnalysis::computeRead(ReadOp op) {
  AbstractValue source = evaluate(op.getState()), query = evaluate(op.getQuery());
  if (!std::holds_alternative<Constant>(query))
    return Bad{"the state is read with a vector that depends on it (quadratic in the state)", op};
  auto *version = std::get_if<VersionRef>(&source);
  if (!version)
    return Bad{"a read of rank-1 terms without the state; read the state after the write", op};
  int axis = findDim(state.getType(), getDims(op.getQuery())[0].getValue());
  return Affine{axis, {}, {{program.materialize(op.getQuery()), version->index}}};
}

/// One vector of a rank-1 term that lives on `axis` of the state: a constant,
/// or a read over the other axis.
std::variant<Affine, Bad> StepAnalysis::factorOf(Operation *op, Value value, int axis) {
  AbstractValue abstract = evaluate(value);
  if (std::holds_alternative<Constant>(abstract))
    return Affine{1 - axis, program.materialize(value), {}};
  auto *affine = std::get_if<Affine>(&abstract);
  if (affine && affine->axis == 1 - axis)
    return *affine;
  return Bad{"a read is written back on the wrong side of a rank-1 term", op};
}

AbstractValue StepAnalysis::computeOuter(Operation *op, Value xValue, Value yValue) {
  auto x = factorOf(op, xValue, 0), y = factorOf(op, yValue, 1);
  if (auto *bad = std::get_if<Bad>(&x))
    return *bad;
  if (auto *bad = std::get_if<Bad>(&y))
    return *bad;
  RankOne term{std::get<Affine>(x), std::get<Affine>(y)};
  // (c x) y^T = x (c y)^T: equal x make one row.
  if (auto scale = term.x.value ? term.x.value.getDefiningOp<ScaleOp>() : ScaleOp();
      scale && term.x.reads.empty() && getDims(scale.getFactor()).empty()) {
    term.x.value = scale.getValue();
    term.y = std::get<Affine>(scaled(term.y, scale.getFactor()));
  }
  if (!term.x.reads.empty() && !term.y.reads.empty())
    return Bad{"a rank-1 term both of whose vectors read the state (quadratic in the state)", op};
  return Writes{{term}};
}

AbstractValue StepAnalysis::computeWrite(WriteOp op) {
  AbstractValue target = evaluate(op.getState());
  AbstractValue term = computeOuter(op, op.getX(), op.getY());
  if (std::holds_alternative<Bad>(term))
    return term;
  if (auto *version = std::get_if<VersionRef>(&target))
    return append(version->index, std::get<Writes>(term), op);
  return Bad{"a write to a matrix that is not the state", op};
}
