//===- NormalizeRecurrence.cpp - recurrences into canonical programs ------===//
//
//   %S1 = fla.gate %S, %a            %S2, %o = fla.affine %S row_gate(%g)
//   %u  = fla.read %S1, %k      ==>      writes(%k) values(%bv) reads(%nbk) queries(%q)
//   %S2 = fla.write %S1, %k, %y          {read_rows = [0], read_versions = [0], ...}
//
// For examples see test/Dialect/FLA/Transforms/normalize-recurrence.mlir.
//===----------------------------------------------------------------------===//
#include "CanonicalEvents.h"
#include "ElementwiseState.h"
#include "FlatForm.h"
#include "ProgramBuilder.h"
#include "StepAnalysis.h"
#include "fla/Analysis/RecurrenceClass.h"
#include "fla/Dialect/FLA/Transforms/Passes.h"

using namespace mlir;
using namespace fla;

namespace fla {
#define GEN_PASS_DEF_NORMALIZERECURRENCE
#include "fla/Dialect/FLA/Transforms/Passes.h.inc"
} // namespace fla

/// Reports why a state cannot be normalised, at the operation to blame.
static LogicalResult reject(RecurrenceOp recurrence, BlockArgument state, const Bad &bad) {
  InFlightDiagnostic diag = mlir::emitError(bad.op ? bad.op->getLoc() : recurrence.getLoc())
                            << "state '" << recurrence.getArgName(state.getArgNumber()) << "' cannot be chunked: " << bad.why;
  diag.attachNote(state.getLoc()) << "the state is declared here";
  return diag;
}

/// Says where a state is computed from another one of `waiting`.
static void noteFeeding(RecurrenceOp recurrence, ProgramBuilder &program, BlockArgument state, ArrayRef<BlockArgument> waiting,
                        InFlightDiagnostic &diag) {
  Value next = recurrence.getYield().getStates()[state.getArgNumber()];
  auto feeds = [&](BlockArgument other) { return other != state && program.dependsOn(next, other); };
  const BlockArgument *other = llvm::find_if(waiting, feeds);
  if (other != waiting.end() && next.getDefiningOp())
    diag.attachNote(next.getLoc()) << "'" << recurrence.getArgName(state.getArgNumber()) << "' is computed from '"
                                   << recurrence.getArgName(other->getArgNumber()) << "' here";
}

/// Orders states so that each comes after those that feed it.
static FailureOr<SmallVector<BlockArgument>> orderStates(RecurrenceOp recurrence, ProgramBuilder &program) {
  SmallVector<BlockArgument> order, waiting(recurrence.getStates());
  llvm::SmallBitVector done(recurrence.getNumStates());
  while (!waiting.empty()) {
    auto ready = llvm::find_if(waiting, [&](BlockArgument state) {
      llvm::SmallBitVector need = program.dependencies(recurrence.getYield().getStates()[state.getArgNumber()]);
      need.reset(state.getArgNumber());
      return !need.test(done);
    });
    if (ready == waiting.end()) {
      InFlightDiagnostic diag = recurrence.emitError("states feed each other within one token: ");
      llvm::interleaveComma(waiting, diag, [&](BlockArgument s) { diag << "'" << recurrence.getArgName(s.getArgNumber()) << "'"; });
      diag << "; a state may only feed states that do not feed it";
      for (BlockArgument state : waiting)
        noteFeeding(recurrence, program, state, waiting, diag);
      return failure();
    }
    order.push_back(*ready);
    done.set(ready->getArgNumber());
    waiting.erase(ready);
  }
  return order;
}

/// Operations that the next state is computed from.
static llvm::DenseSet<Operation *> findUpdate(Value next) {
  llvm::DenseSet<Operation *> update;
  SmallVector<Value> work{next};
  while (!work.empty())
    if (Operation *op = work.pop_back_val().getDefiningOp(); op && update.insert(op).second)
      llvm::append_range(work, op->getOperands());
  return update;
}

/// Values that are affine in the state and that something outside its update needs.
static SmallVector<Value> findAnswers(RecurrenceOp recurrence, ProgramBuilder &program, StepAnalysis &analysis, BlockArgument state) {
  auto update = findUpdate(recurrence.getYield().getStates()[state.getArgNumber()]);
  auto isOutside = [&](Operation *user) { return !update.contains(user); };
  auto isNeededBy = [&](Operation *user) {
    if (isa<YieldOp>(user))
      return true;
    AbstractValue result = analysis.evaluate(user->getResult(0));
    if (std::holds_alternative<Writes>(result)) // the term may be written to another state
      return isOutside(user) || llvm::any_of(user->getUsers(), isOutside);
    return std::holds_alternative<Bad>(result);
  };
  SmallVector<Value> answers;
  for (Operation &op : recurrence.getStep().without_terminator())
    if (program.dependsOn(op.getResult(0), state) && std::holds_alternative<Affine>(analysis.evaluate(op.getResult(0))) &&
        llvm::any_of(op.getUsers(), isNeededBy))
      answers.push_back(op.getResult(0));
  return answers;
}

/// The operation that keeps the next state from being elementwise: the first
/// that depends on the state and is none of those that an elementwise one may use.
static Operation *findNonlinear(ProgramBuilder &program, BlockArgument state, Value next) {
  Operation *op = next.getDefiningOp();
  if (!op || !program.dependsOn(next, state))
    return nullptr;
  for (Value operand : op->getOperands())
    if (Operation *inner = findNonlinear(program, state, operand))
      return inner;
  bool isLinear = isa<arith::AddFOp, arith::SubFOp, arith::NegFOp, arith::MulFOp, arith::SelectOp, ScaleOp, GateOp, AssumeOp, LogAddExpOp,
                      arith::MaximumFOp, arith::MaxNumFOp>(op);
  return isLinear ? nullptr : op;
}

/// Adds the state's `fla.affine`; returns the next state.
static FailureOr<Value> normalizeMatrixState(RecurrenceOp recurrence, ProgramBuilder &program, BlockArgument state) {
  StepAnalysis analysis(program, state);
  Value next = recurrence.getYield().getStates()[state.getArgNumber()];
  SmallVector<Value> answers = findAnswers(recurrence, program, analysis, state);
  CanonicalEvents events(program, analysis, state);
  AbstractValue last = analysis.evaluate(next);
  std::optional<Bad> bad;
  if (auto *why = std::get_if<Bad>(&last))
    bad = *why;
  else if (auto *version = std::get_if<VersionRef>(&last))
    bad = events.build(version->index, answers);
  else
    bad = Bad{"the next state does not contain the state; use a decay of 0 to overwrite it", next.getDefiningOp()};
  if (!bad)
    return events.emit();
  // Sums of versions have no event form; everything relative to the incoming state has.
  FlatForm flat(program, state);
  std::optional<Bad> flatBad = flat.build(next);
  if (flatBad) {
    (void)reject(recurrence, state, *bad);
    return failure();
  }
  return flat.emit(recurrence);
}

FailureOr<ProgramOp> fla::normalizeRecurrence(RecurrenceOp recurrence) {
  ProgramBuilder program(recurrence);
  auto fail = [&]() -> FailureOr<ProgramOp> {
    program.getProgram().erase();
    return failure();
  };
  auto order = orderStates(recurrence, program);
  if (failed(order))
    return fail();
  SmallVector<Value> next(recurrence.getNumStates());
  for (BlockArgument state : *order) {
    Value original = recurrence.getYield().getStates()[state.getArgNumber()];
    Value advanced = normalizeElementwiseState(program, state, original);
    if (advanced) {
      if (program.dependsOn(original, state)) // an overwritten state leaves its input as it is
        program.define(original, advanced);
    } else {
      if (getDims(state).size() != 2) {
        Operation *blame = findNonlinear(program, state, original);
        (void)reject(recurrence, state,
                     Bad{"a state of one dimension must be elementwise: decay * state + input, logaddexp(state + a, b), "
                         "maximum(state + a, b), or overwritten", blame ? blame : original.getDefiningOp()});
        return fail();
      }
      auto matrix = normalizeMatrixState(recurrence, program, state);
      if (failed(matrix))
        return fail();
      advanced = *matrix;
    }
    next[state.getArgNumber()] = advanced;
    program.setAvailable(state);
  }
  if (failed(program.finish(next)))
    return fail();
  return program.getProgram();
}

namespace {
struct NormalizeRecurrence : fla::impl::NormalizeRecurrenceBase<NormalizeRecurrence> {
  void runOnOperation() override {
    for (RecurrenceOp recurrence : llvm::make_early_inc_range(getOperation().getOps<RecurrenceOp>())) {
      auto program = normalizeRecurrence(recurrence);
      if (failed(program))
        return signalPassFailure();
      SmallVector<Attribute> classes;
      for (BlockArgument state : program->getStates())
        classes.push_back(StringAttr::get(&getContext(), program->getArgName(state.getArgNumber()) + ": " +
                                                             classify(*program, state.getArgNumber()).describe()));
      (*program)->setAttr("class", ArrayAttr::get(&getContext(), classes));
      recurrence.erase();
    }
  }
};
} // namespace
