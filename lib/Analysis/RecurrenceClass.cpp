//===- RecurrenceClass.cpp - the class of each state ----------------------===//
#include "fla/Analysis/RecurrenceClass.h"
#include "llvm/ADT/SmallSet.h"

using namespace mlir;
using namespace fla;

/// Whether a value is the same for every token.
static bool isConstantInTime(ProgramOp program, Value value) {
  if (auto arg = dyn_cast<BlockArgument>(value))
    return arg.getArgNumber() >= program.getNumStates() && !program.isPerToken(arg.getArgNumber());
  return llvm::all_of(value.getDefiningOp()->getOperands(), [&](Value v) { return isConstantInTime(program, v); });
}

static StateClass::Gate classifyGate(ProgramOp program, AffineOp op) {
  if (op.getColumnGate())
    return op.getRowGate() ? StateClass::Both : StateClass::Column;
  if (!op.getRowGate())
    return StateClass::None;
  if (!getDims(op.getRowGate()).empty())
    return StateClass::Row;
  return isConstantInTime(program, op.getRowGate()) ? StateClass::Constant : StateClass::Scalar;
}

StateClass fla::classify(ProgramOp program, unsigned state) {
  StateClass result;
  Operation *op = program.getYield().getStates()[state].getDefiningOp();
  if (auto scan = dyn_cast<ScanOp>(op)) {
    result.isElementwise = true;
    result.scan = scan.getKind();
    return result;
  }
  auto affine = cast<AffineOp>(op);
  result.gate = classifyGate(program, affine);
  result.writes = affine.getXs().size();
  llvm::SmallSet<int64_t, 4> reading;
  for (auto [row, version] : llvm::zip(affine.getReadRows(), affine.getReadVersions())) {
    reading.insert(row);
    result.readsBefore |= version < 0;
  }
  result.solveRows = reading.size();
  result.transposed = affine.getRowAxis() == 1;
  return result;
}

std::string StateClass::describe() const {
  if (isElementwise)
    return ("elementwise state, " + stringifyScanKind(scan) + " scan").str();
  static constexpr const char *kGates[] = {"no gate", "constant gate", "scalar gate", "row gate", "column gate", "row and column gates"};
  std::string text = std::string(transposed ? "transposed matrix state, " : "matrix state, ") + kGates[gate] + ", " + std::to_string(writes) +
                     (writes == 1 ? " write a token, " : " writes a token, ") + "solve rank " + std::to_string(solveRows);
  if (solveRows && gate != None)
    text += readsBefore ? ", reads before the decay" : ", reads after the decay";
  return text;
}
