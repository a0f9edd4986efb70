//===- FissionLeaves.cpp - what the next chunk does not need, afterwards --===//
//
//   tile.kernel @f(%q, %x, %state, out %g, out %last) {
//     scf.for %c iter_args(%s) {
//       tile.store (tile.dot %x[%c], %s), %g[%c]     // nothing carried depends on it
//       yield tile.dot %q[%c], ... init(%s)
//     }
//   }
//   ==>
//   tile.kernel @f(%q, %state, out %last, out %0) { scf.for %c iter_args(%s) { tile.store %s, %0[%c]  yield ... } }
//   tile.kernel @f_after(%x, out %g, %0) { %c = tile.chunk_id  tile.store (tile.dot %x[%c], tile.load %0[%c]), %g[%c] }
//
// For examples see test/Dialect/Tile/Transforms/fission-leaves.mlir.
//===----------------------------------------------------------------------===//
#include "FissionCarries.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace fla::tile;

namespace fla {
#define GEN_PASS_DEF_FISSIONLEAVES
#include "fla/Dialect/Tile/Transforms/Passes.h.inc"
} // namespace fla

namespace {

/// Cheap enough to be done twice rather than stored.
bool isLight(Operation *op) {
  return isElementwise(op) || op->getDialect()->getNamespace() == math::MathDialect::getDialectNamespace();
}

bool isReverse(scf::ForOp loop) {
  Value index = chunkIndexOf(loop);
  return index && index != loop.getInductionVar();
}

/// A product of what both kernels have.
bool isRepeatable(DotOp dot, llvm::function_ref<bool(Value)> isThere) { return !dot.getInit() && isThere(dot.getA()) && isThere(dot.getB()); }

/// Divides the operations of a loop into those that what is carried needs, and leaves.
class Leaves {
public:
  Leaves(KernelOp kernel, scf::ForOp loop) : kernel(kernel), loop(loop) {}
  /// False if there is too little to gain, or too much to store.
  bool find();
  Type storedType(Value value);

  llvm::SetVector<Value> stored;  ///< what leaves read of each chunk's turn of the loop
  llvm::SetVector<Operation *> leaves;
  llvm::SetVector<Operation *> again; ///< in the loop and for leaves
  Value index;                        ///< of the chunk

private:
  bool inLoop(Operation *op) { return op && op->getBlock() == loop.getBody(); }
  bool isCarried(Value value) { return llvm::is_contained(loop.getRegionIterArgs(), value); }
  void findCore();
  void findSerial();
  void findLeaves();
  void need(Value value);
  bool pays();
  bool canMove();
  bool canStore();

  KernelOp kernel;
  scf::ForOp loop;
  DenseSet<Operation *> core;   ///< what is carried depends on them
  DenseSet<Operation *> serial; ///< depend on what is carried
};
} // namespace

void Leaves::findCore() {
  SmallVector<Value> work(loop.getBody()->getTerminator()->getOperands());
  while (!work.empty()) {
    Operation *op = work.pop_back_val().getDefiningOp();
    if (inLoop(op) && core.insert(op).second)
      llvm::append_range(work, op->getOperands());
  }
}

void Leaves::findSerial() {
  for (Operation &op : loop.getBody()->without_terminator())
    if (llvm::any_of(op.getOperands(), [&](Value operand) { return isCarried(operand) || serial.contains(operand.getDefiningOp()); }))
      serial.insert(&op);
}

/// Stores of what the loop has anyway stay.
void Leaves::findLeaves() {
  for (Operation &op : loop.getBody()->without_terminator()) {
    auto store = dyn_cast<StoreOp>(op);
    bool stays = store ? isCarried(store.getValue()) || core.contains(store.getValue().getDefiningOp()) : core.contains(&op);
    if (!stays)
      leaves.insert(&op);
  }
}

/// Makes a value of the loop available to leaves.
void Leaves::need(Value value) {
  Operation *op = value.getDefiningOp();
  if (isCarried(value))
    stored.insert(value);
  else if (!inLoop(op) || leaves.contains(op) || value == index)
    return;
  else if (auto isThere = [&](Value x) { return isCarried(x) || !serial.contains(x.getDefiningOp()); };
           serial.contains(op) && !isLight(op) && !(isa<DotOp>(op) && isRepeatable(cast<DotOp>(op), isThere)))
    stored.insert(value);
  else if (again.insert(op))
    llvm::for_each(op->getOperands(), [&](Value operand) { need(operand); });
}

/// At least a quarter of the heavy work leaves the loop.
bool Leaves::pays() {
  int64_t leave = llvm::count_if(leaves, isHeavy), all = llvm::count_if(*loop.getBody(), [](Operation &op) { return isHeavy(&op); });
  return leave > 0 && 4 * leave >= all;
}

/// A kernel over chunks knows the chunk's number, not the loop's turn.
bool Leaves::canMove() {
  auto countsTurns = [&](Operation *op) { return llvm::is_contained(op->getOperands(), loop.getInductionVar()); };
  return llvm::none_of(leaves, countsTurns) && llvm::none_of(again, countsTurns);
}

/// Operands of products alone keep what products take of them.
Type Leaves::storedType(Value value) {
  Type element = getElementTypeOrSelf(value.getType());
  auto reads = [&](OpOperand &use) { return leaves.contains(use.getOwner()) || again.contains(use.getOwner()); };
  bool onlyOperands = element.isF32() && isMatrix(value) && llvm::all_of(value.getUses(), [&](OpOperand &use) { return !reads(use) || isOperand(use); });
  return onlyOperands ? operandType(kernel) : element;
}

/// What is stored takes no more than what the kernel reads and writes anyway.
bool Leaves::canStore() {
  int64_t sum = 0;
  for (Value value : stored) {
    Type element = getElementTypeOrSelf(value.getType());
    if (!isa<FloatType>(element) || (shapeOf(value.getType()).empty() && kernel.getBlocks() > 1))
      return false;
    sum += elements(value) * bytes(storedType(value)) * kernel.getBlocks();
  }
  return sum <= bytesOfBuffers(kernel);
}

bool Leaves::find() {
  if (!isReverse(loop)) // forwards: few products, and states to store for them
    return false;
  index = chunkIndexOf(loop);
  findCore();
  findSerial();
  findLeaves();
  for (Operation *op : leaves)
    llvm::for_each(op->getOperands(), [&](Value operand) { need(operand); });
  return pays() && canMove() && canStore();
}

//===----------------------------------------------------------------------===//
// Two kernels of one
//===----------------------------------------------------------------------===//

namespace {
class Division {
public:
  Division(KernelOp kernel, scf::ForOp loop, Leaves &leaves)
      : kernel(kernel), loop(loop), leaves(leaves), builder(kernel), described(kernel->hasAttr("roles")) {}
  void run();

private:
  SmallVector<Operation *> work();
  void markTwins();
  void buildAfter();
  void storeForLeaves();

  KernelOp kernel;
  scf::ForOp loop;
  Leaves &leaves;
  OpBuilder builder;
  bool described; ///< arguments have roles
  std::string name;
};
} // namespace

/// All that the kernel after the loop does, in order.
SmallVector<Operation *> Division::work() {
  llvm::SetVector<Operation *> found(leaves.leaves.begin(), leaves.leaves.end());
  found.insert(leaves.again.begin(), leaves.again.end());
  for (size_t i = 0; i < found.size(); ++i) // and what is outside of the loop
    for (Value operand : found[i]->getOperands())
      if (Operation *from = operand.getDefiningOp(); from && operand != leaves.index && !leaves.stored.contains(operand))
        found.insert(from);
  SmallVector<Operation *> ordered;
  kernel->walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (found.contains(op))
      ordered.push_back(op);
  });
  return ordered;
}

/// What both kernels compute and another might store for both.
void Division::markTwins() {
  int64_t number = 0;
  for (Operation *op : leaves.again)
    if (op->getNumResults() == 1 && !isa<LoadOp>(op))
      op->setAttr(kTwinAttr, builder.getI64IntegerAttr(number++));
}

void Division::buildAfter() {
  builder.setInsertionPointAfter(kernel);
  auto after = KernelOp::create(builder, kernel.getLoc(), name, builder.getArrayAttr({}), ArrayRef<bool>{}, kernel.getChunk(), kernel.getBlocks(),
                                /*over_chunks=*/true);
  Block *body = builder.createBlock(&after.getBody());
  SmallVector<Operation *> moved = work();
  Arguments arguments;
  IRMapping mapping;
  for (BlockArgument arg : kernel.getBody().getArguments())
    if (llvm::any_of(moved, [&](Operation *op) { return llvm::is_contained(op->getOperands(), arg); })) {
      arguments.addOf(kernel, arg.getArgNumber());
      mapping.map(arg, body->addArgument(arg.getType(), arg.getLoc()));
    }
  Value chunk = ChunkIdOp::create(builder, kernel.getLoc());
  mapping.map(leaves.index, chunk);
  for (auto [i, value] : llvm::enumerate(leaves.stored)) {
    Value buffer = body->addArgument(bufferFor(value, leaves.storedType(value), kernel.getBlocks()), value.getLoc());
    arguments.addTemp(builder, name + "." + std::to_string(i), /*output=*/false);
    mapping.map(value, LoadOp::create(builder, value.getLoc(), value.getType(), buffer, chunk, APFloat(0.0)).getResult());
  }
  for (Operation *op : moved)
    builder.clone(*op, mapping);
  ReturnOp::create(builder, kernel.getLoc());
  arguments.give(after, described);
  after->setAttr("operands", TypeAttr::get(operandType(kernel)));
}

void Division::storeForLeaves() {
  Arguments arguments;
  arguments.addAll(kernel);
  for (auto [i, value] : llvm::enumerate(leaves.stored)) {
    Type element = leaves.storedType(value);
    Value buffer = kernel.getBody().addArgument(bufferFor(value, element, kernel.getBlocks()), value.getLoc());
    arguments.addTemp(builder, name + "." + std::to_string(i), /*output=*/true);
    Operation *number = leaves.index.getDefiningOp(), *made = value.getDefiningOp();
    if (made && (!number || number->getBlock() != loop.getBody() || number->isBeforeInBlock(made)))
      builder.setInsertionPointAfter(made);
    else if (number && number->getBlock() == loop.getBody())
      builder.setInsertionPointAfter(number);
    else
      builder.setInsertionPointToStart(loop.getBody());
    StoreOp::create(builder, value.getLoc(), value, buffer, leaves.index);
  }
  arguments.give(kernel, described);
}

void Division::run() {
  name = (kernel.getSymName() + "_after").str();
  Type operands = operandType(kernel);
  markTwins();
  buildAfter();
  storeForLeaves();
  for (Operation *op : llvm::reverse(leaves.leaves))
    op->erase();
  // The arguments that told lie in one of two kernels now.
  kernel->setAttr("operands", TypeAttr::get(operands));
  dropUnused(kernel, loop.getBody());
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

static bool divideLeaves(KernelOp kernel) {
  scf::ForOp loop = chunkLoop(kernel);
  if (!loop)
    return false;
  Leaves leaves(kernel, loop);
  if (!leaves.find())
    return false;
  Division(kernel, loop, leaves).run();
  return true;
}

/// Without what is late more of a loop are leaves; if still not enough, the kernel stays as it is.
static bool divideCarries(KernelOp &kernel) {
  scf::ForOp loop = chunkLoop(kernel);
  if (!loop)
    return false;
  Carries carries(kernel, loop);
  if (!isReverse(loop) || !carries.findLate())
    return false;
  OwningOpRef<Operation *> whole = kernel->clone();
  KernelOp late = carries.divide((kernel.getSymName() + "_late").str());
  if (divideLeaves(kernel))
    return true;
  late->erase();
  kernel = restore(kernel, std::move(whole));
  return false;
}

namespace {
struct FissionLeaves : fla::impl::FissionLeavesBase<FissionLeaves> {
  void runOnOperation() override {
    for (auto kernel : llvm::to_vector(getOperation().getOps<KernelOp>()))
      if (!divideCarries(kernel))
        divideLeaves(kernel);
  }
};
} // namespace
