//===- TokenTiles.cpp - tiles that are better held by tokens --------------===//
#include "TokenTiles.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace fla::tile {

static bool sumsTokens(Operation *op) { return isa<CumSumOp, LevelDecayOp, LevelDecayGradOp>(op); }

/// What can be had twice for little.
static bool isSource(Value value) {
  Operation *op = value.getDefiningOp();
  return op && isa<LoadOp, ReadOp, BroadcastOp, arith::ConstantOp>(op);
}

/// Exchanges between lanes that a sum saves; a change of threads counts as one.
static int64_t gainOf(Operation *op) {
  if (isa<CumSumOp>(op))
    return 3;
  auto level = op->getAttrOfType<IntegerAttr>("level");
  return std::min<int64_t>(3, llvm::Log2_64(level.getInt()));
}

TokenTiles::TokenTiles(KernelOp kernel, Predicate mayHold) : mayHold(std::move(mayHold)) {
  kernel.walk([&](Operation *op) { join(op); });
  kernel.walk([&](Operation *op) { weigh(op); });
  kernel.walk([&](Operation *op) {
    if (isJoined(op) && gains.lookup(leader(op->getResult(0))) > 0)
      chosen.insert(op->getResult(0));
  });
  SmallVector<Operation *> sources;
  kernel.walk([&](Operation *op) {
    if (op->getNumResults() == 1 && isSource(op->getResult(0)) && this->mayHold(op->getResult(0)))
      sources.push_back(op);
  });
  for (Operation *op : sources)
    chooseSource(op);
}

/// Sums along the tokens and elementwise work whose results may be held by tokens.
bool TokenTiles::isJoined(Operation *op) const {
  if (op->getNumResults() != 1 || isSource(op->getResult(0)) || !mayHold(op->getResult(0)))
    return false;
  StringRef dialect = op->getName().getDialectNamespace();
  return sumsTokens(op) || dialect == "arith" || dialect == "math";
}

Value TokenTiles::leader(Value value) const {
  Value &parent = parents.try_emplace(value, value).first->second;
  if (parent == value)
    return value;
  Value found = leader(parent);
  return parents[value] = found;
}

void TokenTiles::join(Operation *op) {
  if (!isJoined(op))
    return;
  for (Value operand : op->getOperands())
    if (Operation *from = operand.getDefiningOp(); from && isJoined(from))
      parents[leader(operand)] = leader(op->getResult(0));
}

void TokenTiles::weigh(Operation *op) {
  if (!isJoined(op))
    return;
  int64_t gain = sumsTokens(op) ? gainOf(op) : 0;
  for (Value operand : op->getOperands())
    if (isa<RankedTensorType>(operand.getType()) && !isSource(operand) && !(operand.getDefiningOp() && isJoined(operand.getDefiningOp())))
      --gain;
  for (OpOperand &use : op->getResult(0).getUses()) {
    auto dot = dyn_cast<DotOp>(use.getOwner());
    gain -= isa<scf::YieldOp, scf::ForOp>(use.getOwner()) || (dot && use.get() == dot.getInit());
  }
  gains[leader(op->getResult(0))] += gain;
}

/// A source that others use in another way is there twice.
void TokenTiles::chooseSource(Operation *op) {
  SmallVector<OpOperand *> ours;
  bool others = false;
  for (OpOperand &use : op->getResult(0).getUses()) {
    Operation *user = use.getOwner();
    if (user->getNumResults() == 1 && chosen.contains(user->getResult(0)))
      ours.push_back(&use);
    else
      others |= !isa<StoreOp, ReduceOp>(user) && !(isa<DotOp>(user) && use.getOperandNumber() < 2);
  }
  if (ours.empty())
    return;
  Value held = op->getResult(0);
  if (others) {
    held = OpBuilder(op).clone(*op)->getResult(0);
    for (OpOperand *use : ours)
      use->set(held);
  }
  chosen.insert(held);
}

} // namespace fla::tile
