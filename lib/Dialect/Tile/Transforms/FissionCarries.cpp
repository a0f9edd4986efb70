//===- FissionCarries.cpp - two loops of one ------------------------------===//
//
//   tile.kernel @f(.., out %sum) {
//     %r:2 = scf.for %c iter_args(%s, %acc) { %x = ..   yield .., %acc + %x }
//     tile.store %r#1, %sum
//   }
//   ==>
//   tile.kernel @f(.., out %0) { scf.for %c iter_args(%s) { %x = ..  tile.store %x, %0[%c]  yield .. } }
//   tile.kernel @f_late(%0, out %sum) {
//     %r = scf.for %c iter_args(%acc) { yield %acc + tile.load %0[%c] }
//     tile.store %r, %sum
//   }
//
// Or, of a scan that reads nothing of the rest: it alone stays in a loop that stores what it
// carries into each chunk, and the rest loads that.
//
//===----------------------------------------------------------------------===//
#include "FissionCarries.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace fla::tile {

/// All that depends on a value, in the order of its users; of a carried one within a turn of the loop.
SetVector<Operation *> Carries::dependentsOf(Value value) {
  SetVector<Operation *> found(value.user_begin(), value.user_end());
  for (size_t i = 0; i < found.size(); ++i)
    found.insert(found[i]->user_begin(), found[i]->user_end());
  return found;
}

/// Carried values are late unless products depend on them, or something carried that is not late.
void Carries::chooseLate() {
  unsigned count = loop.getNumRegionIterArgs();
  Operation *yield = loop.getBody()->getTerminator();
  SmallVector<SetVector<Operation *>> dependents;
  for (BlockArgument carried : loop.getRegionIterArgs())
    dependents.push_back(dependentsOf(carried));
  auto feeds = [&](unsigned i, unsigned j) { return dependents[i].contains(yield->getOperand(j).getDefiningOp()); };
  late.resize(count);
  for (unsigned i = 0; i < count; ++i)
    late[i] = llvm::none_of(dependents[i], isHeavy);
  for (bool changed = true; changed;) {
    changed = false;
    for (unsigned i : llvm::to_vector(late.set_bits()))
      for (unsigned j = 0; j < count && late[i]; ++j)
        if (!late[j] && (feeds(i, j) || yield->getOperand(j) == loop.getRegionIterArg(i)))
          late.reset(i), changed = true;
  }
}

/// Whether no product is needed for the next value of what is carried, nothing late, and nothing that differs between blocks.
bool Carries::isEarly(unsigned carried) {
  SmallVector<Value> work{loop.getBody()->getTerminator()->getOperand(carried), loop.getInitArgs()[carried]};
  DenseSet<Operation *> seen;
  while (!work.empty()) {
    Value value = work.pop_back_val();
    Operation *op = value.getDefiningOp();
    auto argument = dyn_cast<BlockArgument>(value);
    if (argument && argument.getOwner() == loop.getBody() && argument != loop.getInductionVar() && late[argument.getArgNumber() - 1])
      return false;
    if (!op || !seen.insert(op).second)
      continue;
    if (isHeavy(op) || isNarrow(op))
      return false;
    llvm::append_range(work, op->getOperands());
  }
  return true;
}

/// All is late but for what is early on its own: from all as early on, until nothing more has to go.
void Carries::chooseEarly() {
  late.resize(loop.getNumRegionIterArgs());
  for (bool changed = true; changed;) {
    changed = false;
    for (unsigned i = 0; i < late.size(); ++i)
      if (!late[i] && !isEarly(i))
        late.set(i), changed = true;
  }
}

/// What depends on what is carried, of either part.
void Carries::dependOnLate() {
  for (BlockArgument carried : loop.getRegionIterArgs()) {
    SetVector<Operation *> dependents = dependentsOf(carried);
    if (late[carried.getArgNumber() - 1])
      lateOps.insert(dependents.begin(), dependents.end());
    else
      tied.insert(dependents.begin(), dependents.end());
  }
  lateOps.remove(loop.getBody()->getTerminator());
}

/// Makes a value of the loop available to what is late; false if it cannot be stored.
bool Carries::need(Value value) {
  Operation *op = value.getDefiningOp();
  auto argument = dyn_cast<BlockArgument>(value);
  bool isCarried = argument && argument.getOwner() == loop.getBody() && argument != loop.getInductionVar() && !late[argument.getArgNumber() - 1];
  if (!isCarried && (!inLoop(op) || lateOps.contains(op) || value == index))
    return true;
  if (isCarried || (!again && (tied.contains(op) || isHeavy(op)))) {
    stored.insert(value);
    return isa<FloatType>(getElementTypeOrSelf(value.getType()));
  }
  return llvm::all_of(op->getOperands(), [&](Value operand) { return need(operand); });
}

bool Carries::findLate() {
  index = chunkIndexOf(loop);
  if (!index)
    return false;
  chooseLate();
  dependOnLate();
  return divides();
}

bool Carries::findEarly() {
  index = chunkIndexOf(loop);
  if (!index)
    return false;
  again = true;
  chooseEarly();
  dependOnLate();
  // Of stores only those of what is carried are early.
  auto isCarried = [&](Value value) { return llvm::is_contained(loop.getRegionIterArgs(), value); };
  for (StoreOp store : loop.getBody()->getOps<StoreOp>())
    if (!isCarried(store.getValue()))
      lateOps.insert(store);
  return divides();
}

/// Whether the parts are two, what the late one reads can be stored, and nothing after the loop needs both.
bool Carries::divides() {
  if (late.none() || late.all())
    return false;
  DenseSet<Operation *> others;
  for (auto [i, result] : llvm::enumerate(loop.getResults()))
    for (Operation *op : dependentsOf(result))
      late[i] ? (void)ends.insert(op) : (void)others.insert(op);
  if (llvm::any_of(ends, [&](Operation *op) { return others.contains(op); }))
    return false;
  Operation *yield = loop.getBody()->getTerminator();
  bool fits = llvm::all_of(late.set_bits(), [&](unsigned i) { return need(yield->getOperand(i)); });
  for (Operation *op : lateOps)
    for (Value operand : op->getOperands())
      fits = need(operand) && fits;
  return fits;
}

/// A number is stored as a row of one, so that blocks of columns have one each.
static RankedTensorType rowType(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type ? type : RankedTensorType::get({1}, value.getType());
}

BufferType Carries::bufferOf(Value value) {
  RankedTensorType row = rowType(value);
  return bufferFor(row, row.getElementType(), again ? 1 : kernel.getBlocks()); // what is early is alike in all blocks
}

/// Behind what computes each value.
void Carries::store(StringRef name) {
  Arguments arguments;
  arguments.addAll(kernel);
  OpBuilder builder(kernel);
  for (auto [i, value] : llvm::enumerate(stored)) {
    Value buffer = kernel.getBody().addArgument(bufferOf(value), value.getLoc());
    arguments.addTemp(builder, (name + "." + Twine(i)).str(), /*output=*/true);
    Operation *made = value.getDefiningOp(), *number = index.getDefiningOp();
    if (made && !(inLoop(number) && made->isBeforeInBlock(number)))
      builder.setInsertionPointAfter(made);
    else if (inLoop(number))
      builder.setInsertionPointAfter(number);
    else
      builder.setInsertionPointToStart(loop.getBody());
    Value row = shapeOf(value.getType()).empty() ? BroadcastOp::create(builder, value.getLoc(), rowType(value), value, ArrayRef<int64_t>{}) : value;
    StoreOp::create(builder, value.getLoc(), row, buffer, index);
  }
  arguments.give(kernel, kernel->hasAttr("roles"));
}

/// In the copy of the kernel, where the number of the chunk is known.
void Carries::loadInstead(KernelOp other, StringRef name, IRMapping &copies) {
  Arguments arguments;
  arguments.addAll(other);
  OpBuilder builder(other);
  Value chunk = copies.lookup(index);
  if (Operation *number = chunk.getDefiningOp())
    builder.setInsertionPointAfter(number);
  else
    builder.setInsertionPointToStart(cast<BlockArgument>(chunk).getOwner());
  for (auto [i, value] : llvm::enumerate(stored)) {
    Value buffer = other.getBody().addArgument(bufferOf(value), value.getLoc());
    arguments.addTemp(builder, (name + "." + Twine(i)).str(), /*output=*/false);
    Value load = LoadOp::create(builder, value.getLoc(), rowType(value), buffer, chunk, APFloat(0.0));
    if (load.getType() != value.getType())
      load = ReduceOp::create(builder, value.getLoc(), value.getType(), ReduceKind::add, load, 0);
    copies.lookup(value).replaceAllUsesWith(load);
  }
  arguments.give(other, kernel->hasAttr("roles"));
}

/// Lets a loop carry nothing but this, for which all stores are that are left.
static void keepCarried(KernelOp kernel, scf::ForOp loop, const llvm::BitVector &kept) {
  OpBuilder builder(loop);
  Operation *yield = loop.getBody()->getTerminator();
  for (unsigned i = 0; i < kept.size(); ++i)
    if (!kept[i])
      yield->setOperand(i, loop.getInitArgs()[i]);
  dropUnused(kernel, loop.getBody());
  SmallVector<Value> init, next;
  for (unsigned i : kept.set_bits()) {
    init.push_back(loop.getInitArgs()[i]);
    next.push_back(yield->getOperand(i));
  }
  auto fresh = scf::ForOp::create(builder, loop.getLoc(), loop.getLowerBound(), loop.getUpperBound(), loop.getStep(), init);
  Block *body = fresh.getBody();
  builder.setInsertionPoint(yield);
  scf::YieldOp::create(builder, yield->getLoc(), next);
  yield->erase();
  body->getOperations().splice(body->end(), loop.getBody()->getOperations());
  loop.getInductionVar().replaceAllUsesWith(fresh.getInductionVar());
  for (auto [place, i] : llvm::enumerate(kept.set_bits())) {
    loop.getRegionIterArg(i).replaceAllUsesWith(fresh.getRegionIterArg(place));
    loop.getResult(i).replaceAllUsesWith(fresh.getResult(place));
  }
  loop.erase();
  dropUnused(kernel, body);
}

static void eraseAll(ArrayRef<Operation *> ops) {
  for (Operation *op : llvm::reverse(ops))
    op->erase();
}

KernelOp Carries::divide(StringRef name) {
  Block *body = &kernel.getBody().front();
  Type operands = operandType(kernel);
  SmallVector<Operation *> earlyOnly, lateOnly; // stores, and what has to go before them
  for (Operation &op : loop.getBody()->without_terminator())
    if (lateOps.contains(&op))
      lateOnly.push_back(&op);
    else if (isa<StoreOp>(op))
      earlyOnly.push_back(&op);
  for (Operation &op : llvm::make_range(std::next(loop->getIterator()), body->end()))
    if (ends.contains(&op))
      lateOnly.push_back(&op);
    else if (isa<StoreOp>(op))
      earlyOnly.push_back(&op);
  OpBuilder builder(kernel);
  builder.setInsertionPointAfter(kernel);
  IRMapping copies;
  auto other = cast<KernelOp>(builder.clone(*kernel, copies));
  other.setSymName(name);
  auto theirs = [&](Operation *op) { return copies.lookup(op); };
  loadInstead(other, name, copies);
  eraseAll(llvm::map_to_vector(earlyOnly, theirs));
  keepCarried(other, cast<scf::ForOp>(theirs(loop)), late);

  store(name);
  Operation *yield = loop.getBody()->getTerminator();
  for (unsigned i : late.set_bits()) // what is late goes, though the loop still carries it
    yield->setOperand(i, loop.getInitArgs()[i]);
  eraseAll(lateOnly);
  llvm::BitVector early = late;
  keepCarried(kernel, loop, early.flip());
  for (KernelOp part : {kernel, other}) // the arguments that told may lie in one of them
    part->setAttr("operands", TypeAttr::get(operands));
  return other;
}

} // namespace fla::tile
