//===- Halves.cpp - where a kernel over chunks is best divided ------------===//
#include "Halves.h"

using namespace mlir;

namespace fla::tile {

/// Functions that are series of many terms.
static bool isSeries(Operation *op) {
  return op->getDialect()->getNamespace() == math::MathDialect::getDialectNamespace() &&
         !isa<math::AbsFOp, math::ExpOp, math::Exp2Op, math::SqrtOp, math::RsqrtOp>(op);
}

/// Work that both kernels may do rather than store what it gives.
static bool isLight(Operation *op) {
  bool isMath = op->getDialect()->getNamespace() == math::MathDialect::getDialectNamespace();
  return isElementwise(op) || (isMath && !isSeries(op)) || op->hasTrait<OpTrait::ConstantLike>() ||
         isa<LoadOp, ChunkIdOp, FirstBlockOp, ValidOp, InsideOp, SegSumOp, LevelDecayOp>(op);
}

//===----------------------------------------------------------------------===//
// Instructions of a thread, as counted in kernels for NVIDIA's GPUs
//===----------------------------------------------------------------------===//

static constexpr int64_t kThreads = 256, kWarps = 8; // of a block

static int64_t shareOf(Value value) { return llvm::divideCeil(elements(value), kThreads); }
static int64_t textOfLoad(int64_t share) { return 16 + 2 * share; }
static int64_t textOfStore(int64_t share) { return 16 + 4 * share; }

static int64_t textOf(Operation *op) {
  if (auto dot = dyn_cast<DotOp>(op)) {
    ArrayRef<int64_t> a = shapeOf(dot.getA().getType());
    int64_t terms = dot.getTransposeA() ? a.front() : a.back();
    int64_t tiles = llvm::divideCeil(elements(dot.getResult()), 16 * 8 * kWarps);
    return 10 + 2 * tiles * llvm::divideCeil(terms, 16) + (shareOf(dot.getA()) + shareOf(dot.getB())) / 2;
  }
  if (isa<LoadOp>(op))
    return textOfLoad(shareOf(op->getResult(0)));
  if (auto store = dyn_cast<StoreOp>(op))
    return textOfStore(shareOf(store.getValue()));
  if (isa<ReduceOp>(op))
    return 40 + shareOf(op->getOperand(0));
  if (isa<BroadcastOp, ChunkIdOp, FirstBlockOp>(op) || op->hasTrait<OpTrait::ConstantLike>())
    return 0;
  int64_t results = 0;
  for (Value result : op->getResults())
    results += shareOf(result);
  if (isa<CumSumOp>(op))
    return 70 + results;
  if (isa<LevelDecayOp, LevelDecayGradOp>(op))
    return 40 + 3 * results;
  if (isHeavy(op) || isa<ScanOp, ScanGradOp>(op)) // along the tokens
    return 10 * results;
  if (isSeries(op))
    return 32 * results;
  bool isArith = op->getDialect()->getNamespace() == arith::ArithDialect::getDialectNamespace();
  return isArith ? results : 2 * results;
}

//===----------------------------------------------------------------------===//
// The kernel as a graph
//===----------------------------------------------------------------------===//

Halves::Halves(KernelOp kernel) : kernel(kernel), operands(operandType(kernel)) {
  for (Operation &op : kernel.getBody().front().without_terminator())
    addNode(op);
  for (Number n : works)
    for (Number from : nodes[n].needs)
      nodes[from].readers.push_back(n);
  for (llvm::BitVector *marks : {&isNeeded, &isStored, &isInFirst})
    marks->resize(nodes.size());
}

void Halves::addNode(Operation &op) {
  Number number = nodes.size();
  Node node{&op};
  llvm::SmallSetVector<Number, 8> reads, needs;
  for (Value operand : op.getOperands())
    if (auto it = numbers.find(operand.getDefiningOp()); it != numbers.end())
      reads.insert(it->second);
  for (Number n : reads) {
    if (nodes[n].isWork)
      needs.insert(n);
    else
      needs.insert(nodes[n].needs.begin(), nodes[n].needs.end());
  }
  node.operands.assign(reads.begin(), reads.end());
  node.needs.assign(needs.begin(), needs.end());
  node.isWork = !isLight(&op);
  node.text = textOf(&op);
  if (auto load = dyn_cast<LoadOp>(op)) {
    node.bytes = elements(load.getResult()) * bytes(load.getBuffer().getType().getElementType());
  } else {
    // A number a chunk has no place for each block of columns.
    node.storable = llvm::all_of(op.getResultTypes(), [&](Type type) {
      return isa<FloatType>(getElementTypeOrSelf(type)) && (isa<RankedTensorType>(type) || kernel.getBlocks() == 1);
    });
    for (Value result : op.getResults())
      node.bytes += node.storable ? elements(result) * bytes(storedType(result)) : 0;
  }
  text += node.text;
  numbers[&op] = number;
  if (node.isWork)
    works.push_back(number);
  nodes.push_back(std::move(node));
}

Type Halves::storedType(Value value) const {
  Type element = getElementTypeOrSelf(value.getType());
  return element.isF32() && isMatrix(value) && llvm::all_of(value.getUses(), isOperand) ? operands : element;
}

//===----------------------------------------------------------------------===//
// What an assignment costs
//===----------------------------------------------------------------------===//

/// Whether light work needs nothing but the first kernel's work.
bool Halves::isOfFirst(const Cut &cut, Number n) const {
  return !nodes[n].needs.empty() && llvm::none_of(nodes[n].needs, [&](Number from) { return cut.second[from]; });
}

/// Marks what the second kernel needs for operation `n`, up to light work that the first could do.
void Halves::need(const Cut &cut, Number n) {
  if (isNeeded[n] || (nodes[n].isWork && cut.second[n]))
    return;
  if (nodes[n].isWork)
    isStored.set(n);
  else if (isOfFirst(cut, n))
    return void(shared.insert(n));
  isNeeded.set(n);
  if (!nodes[n].isWork)
    for (Number operand : nodes[n].operands)
      need(cut, operand);
}

/// Marks light work that both do.
void Halves::needAgain(Number n) {
  if (isNeeded[n])
    return;
  isNeeded.set(n);
  if (nodes[n].isWork)
    return void(isStored.set(n));
  for (Number operand : nodes[n].operands)
    needAgain(operand);
}

/// Light work is stored in place of the work that nothing else wants, if that is larger, or else done again.
void Halves::chooseStored() {
  llvm::SmallVector<unsigned> wanted(nodes.size());
  for (Number n : shared)
    for (Number from : nodes[n].needs)
      ++wanted[from];
  for (Number n : shared) {
    int64_t saved = 0;
    for (Number from : nodes[n].needs)
      saved += wanted[from] == 1 && !isStored[from] ? nodes[from].bytes : 0;
    if (nodes[n].storable && nodes[n].bytes < saved) {
      isNeeded.set(n);
      isStored.set(n);
    } else {
      needAgain(n);
    }
  }
}

/// Marks what the first kernel does for operation `n`.
void Halves::needFirst(Number n) {
  if (isInFirst[n])
    return;
  isInFirst.set(n);
  for (Number operand : nodes[n].operands)
    needFirst(operand);
}

void Halves::evaluate(Cut &cut) {
  for (llvm::BitVector *marks : {&isNeeded, &isStored, &isInFirst})
    marks->reset();
  shared.clear();
  cut.bytes = 0;
  for (Number n : works) {
    if (!cut.second[n])
      needFirst(n);
    else
      for (Number operand : nodes[n].operands)
        need(cut, operand);
  }
  chooseStored();
  int64_t first = 0, second = 0, both = 0;
  for (Number n : isStored.set_bits()) {
    needFirst(n);
    constexpr int64_t kNever = int64_t(1) << 40;
    cut.bytes += nodes[n].storable ? nodes[n].bytes : kNever;
    for (Value result : nodes[n].op->getResults()) {
      first += textOfStore(shareOf(result));
      second += textOfLoad(shareOf(result));
    }
  }
  // A turn of eight warps is as long as 40 bytes from memory are on their way.
  constexpr int64_t kBytesOfText = 40;
  for (unsigned n = 0; n < nodes.size(); ++n) {
    bool isAgain = isNeeded[n] && !isStored[n];
    first += isInFirst[n] ? nodes[n].text : 0;
    second += isAgain || cut.second[n] ? nodes[n].text : 0;
    if (isInFirst[n] && isAgain)
      both += isa<LoadOp>(nodes[n].op) ? nodes[n].bytes : nodes[n].text * kBytesOfText;
  }
  cut.excess = std::max<int64_t>(std::max(first, second) - limit, 0);
  cut.cost = 2 * cut.bytes + both;
}

//===----------------------------------------------------------------------===//
// The search
//===----------------------------------------------------------------------===//

/// The first has all that its work needs.
bool Halves::canMove(const Cut &cut, Number n) const {
  if (cut.second[n])
    return llvm::none_of(nodes[n].needs, [&](Number from) { return cut.second[from]; });
  return llvm::all_of(nodes[n].readers, [&](Number to) { return cut.second[to]; });
}

/// Work goes to the first kernel in the order that is there, up to so much text.
Halves::Cut Halves::startAt(int64_t firstText) {
  Cut cut;
  cut.second.resize(nodes.size());
  int64_t sum = 0;
  for (auto [n, node] : llvm::enumerate(nodes)) {
    sum += node.text;
    cut.second[n] = node.isWork && sum > firstText;
  }
  evaluate(cut);
  return cut;
}

/// The best of the assignments on the way on which each piece of work moves once.
Halves::Cut Halves::improved(Cut cut) {
  Cut reached = cut;
  llvm::BitVector moved(nodes.size());
  while (true) {
    std::optional<Number> chosen;
    Cut next;
    for (Number n : works) {
      if (moved[n] || !canMove(cut, n))
        continue;
      Cut candidate = cut;
      candidate.second.flip(n);
      evaluate(candidate);
      if (!chosen || candidate < next) {
        chosen = n;
        next = std::move(candidate);
      }
    }
    if (!chosen)
      return reached;
    cut = std::move(next);
    moved.set(*chosen);
    if (cut < reached)
      reached = cut;
  }
}

/// Of at most two thirds of the text each if there are such, else three quarters.
bool Halves::find() {
  for (int64_t most : {text * 2 / 3, text * 3 / 4}) {
    limit = most;
    best = Cut();
    for (int64_t eighths : {3, 4, 5}) {
      Cut start = startAt(text * eighths / 8), reached = start;
      do { // until a round gains nothing
        start = reached;
        reached = improved(start);
      } while (reached < start);
      if (best.second.empty() || reached < best)
        best = reached;
    }
    if (best.excess == 0)
      return true;
  }
  return false;
}

bool Halves::isFirst(Operation *op) const { return !best.second[numbers.lookup(op)]; }

SmallVector<Value> Halves::stored() {
  evaluate(best);
  auto isRead = [&](Operation *user) {
    Number n = numbers.lookup(user);
    return best.second[n] || (isNeeded[n] && !isStored[n]);
  };
  SmallVector<Value> values;
  for (Number n : isStored.set_bits())
    for (Value result : nodes[n].op->getResults())
      if (llvm::any_of(result.getUsers(), isRead))
        values.push_back(result);
  return values;
}

//===----------------------------------------------------------------------===//
// Whether it is worth it
//===----------------------------------------------------------------------===//

/// What goes next ends most, or begins least.
int64_t Halves::numbersHeld() const {
  llvm::BitVector left(nodes.size());
  SmallVector<unsigned> waiting(nodes.size()); // readers that are left
  SmallVector<int64_t> weights(nodes.size());
  for (auto [n, node] : llvm::enumerate(nodes)) {
    // What elementwise work makes of loads alone is as good as loaded.
    left[n] = (node.isWork && !isSeries(node.op)) || llvm::any_of(node.operands, [&](Number from) { return left[from]; });
    for (Value result : node.op->getResults())
      weights[n] += left[n] ? shareOf(result) : 0;
    for (Number operand : node.operands)
      waiting[operand] += left[n];
  }
  auto growthOf = [&](Number n) {
    int64_t growth = waiting[n] ? weights[n] : 0;
    for (Number from : nodes[n].operands)
      growth -= waiting[from] == 1 ? weights[from] : 0;
    return growth;
  };
  int64_t held = 0, most = 0;
  while (left.any()) {
    std::optional<Number> next;
    for (Number n : left.set_bits())
      if (llvm::none_of(nodes[n].operands, [&](Number from) { return left[from]; }) && (!next || growthOf(n) < growthOf(*next)))
        next = n;
    held += growthOf(*next);
    most = std::max(most, held);
    left.reset(*next);
    for (Number from : nodes[*next].operands)
      --waiting[from];
  }
  return most;
}

} // namespace fla::tile
