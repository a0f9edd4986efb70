//===- Plan.cpp - where each tile of a kernel lives -----------------------===//
#include "Plan.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace fla::cpu {

static bool isTensor(Value value) { return isa<RankedTensorType>(value.getType()); }

bool isPointwise(Operation *op) {
  if (op->getNumResults() != 1 || !isTensor(op->getResult(0)))
    return false;
  if (isAlwaysInline(op))
    return true;
  StringRef dialect = op->getName().getDialectNamespace();
  return (dialect == "arith" || dialect == "math") && OpTrait::hasElementwiseMappableTraits(op);
}

bool isAlwaysInline(Operation *op) {
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    return isa<SplatElementsAttr>(constant.getValue());
  return isa<tile::BroadcastOp, tile::ValidOp, tensor::SplatOp>(op);
}

static bool isInit(OpOperand &use) {
  auto dot = dyn_cast<tile::DotOp>(use.getOwner());
  return dot && dot.getInit() && use.getOperandNumber() == 2;
}

/// A use that computes a pointwise operand inside its own loop.
static bool inlinesOperand(OpOperand &use) {
  Operation *user = use.getOwner();
  return isa<tile::ReduceOp>(user) || (isPointwise(user) && !isAlwaysInline(user)) || isInit(use);
}

static bool needsPlace(OpResult value) {
  Operation *op = value.getOwner();
  if (!isTensor(value) || isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp, tensor::EmptyOp>(op))
    return false;
  if (!isPointwise(op))
    return true;
  if (isAlwaysInline(op))
    return !llvm::all_of(value.getUses(), [](OpOperand &use) { return inlinesOperand(use) || isa<tile::BroadcastOp, scf::ForOp>(use.getOwner()); });
  if (!value.hasOneUse())
    return !value.use_empty();
  OpOperand &use = *value.use_begin();
  return !inlinesOperand(use) || use.getOwner()->getBlock() != op->getBlock();
}

Value Plan::resolve(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

int64_t Plan::sizeOf(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  int64_t bits = std::max<int64_t>(8, type.getElementTypeBitWidth());
  return llvm::alignTo(std::max<int64_t>(type.getNumElements() * bits / 8, 1), 64);
}

int Plan::newSpan(int64_t start, int64_t bytes) {
  spans.push_back({start, start, bytes, -1});
  return spans.size() - 1;
}

Plan::Plan(tile::KernelOp kernel) {
  Block &body = kernel.getBody().front();
  number(body);
  place(body);
  kernel.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (op != kernel)
      readOperands(op);
  });
  for (Operation *loop : loops) {
    shareInitial(loop);
    shareYields(loop);
    planTemporaries(loop);
  }
  kernel.walk([&](tile::DotOp dot) { shareInit(dot); });
  for (const Read &read : reads) {
    Span &span = spans[places.lookup(read.leaf)];
    span.end = std::max(span.end, read.position);
  }
  allocate();
}

void Plan::number(Block &block) {
  for (Operation &op : block) {
    int64_t start = counter++;
    for (Region &region : op.getRegions())
      for (Block &inner : region)
        number(inner);
    positions[&op] = {start, op.getNumRegions() ? counter++ : start};
  }
}

void Plan::place(Block &block) {
  for (Operation &op : block) {
    auto [start, end] = positions[&op];
    if (auto loop = dyn_cast<scf::ForOp>(op)) {
      loops.push_back(loop);
      for (auto [arg, result] : llvm::zip_equal(loop.getRegionIterArgs(), loop.getResults())) {
        if (!isTensor(arg))
          continue;
        int span = newSpan(start, sizeOf(arg));
        spans[span].end = end;
        places[arg] = places[result] = span;
      }
      place(*loop.getBody());
      continue;
    }
    for (OpResult result : op.getResults())
      if (needsPlace(result))
        places[result] = newSpan(start, sizeOf(result));
  }
}

/// The position at which `reader` reads `value`, in the block of `value`'s
/// definition: a reader inside a loop reads until the loop ends.
int64_t Plan::seenFrom(Operation *reader, Value value) const {
  Block *home = value.getParentBlock();
  if (reader->getBlock() == home)
    return positions.lookup(reader).first;
  Operation *at = reader;
  while (at->getBlock() != home)
    at = at->getParentOp();
  return positions.lookup(at).second;
}

void Plan::readLeaves(Operation *root, Value value, bool aligned, bool inlines) {
  value = resolve(value);
  if (!isTensor(value))
    return;
  Operation *op = value.getDefiningOp();
  bool inlined = op && isPointwise(op) && (isAlwaysInline(op) || !places.contains(value));
  // Operations that do not compute their operands read the stored value.
  if (inlined && places.contains(value) && !inlines && !isPointwise(root))
    inlined = false;
  if (!inlined) {
    if (places.contains(value))
      reads.push_back({value, seenFrom(root, value), aligned});
    return;
  }
  for (Value operand : op->getOperands())
    readLeaves(root, operand, aligned && !isa<tile::BroadcastOp>(op), inlines);
}

void Plan::readOperands(Operation *root) {
  bool pointwise = isPointwise(root);
  // Values that are computed in place of their use read nothing themselves.
  if (pointwise && !places.contains(root->getResult(0)))
    return;
  for (OpOperand &use : root->getOpOperands())
    readLeaves(root, use.get(), isInit(use) || (pointwise && !isa<tile::BroadcastOp>(root)), inlinesOperand(use));
}

/// Lets an initial value that nothing else reads be computed in the carry's place.
void Plan::shareInitial(Operation *op) {
  auto loop = cast<scf::ForOp>(op);
  for (auto [init, arg] : llvm::zip_equal(loop.getInitArgs(), loop.getRegionIterArgs())) {
    Operation *def = init.getDefiningOp();
    if (!places.contains(init) || !def || isa<scf::ForOp>(def) || def->getBlock() != op->getBlock() || !init.hasOneUse())
      continue;
    int span = places[arg];
    Span &old = spans[places[init]];
    spans[span].start = std::min(spans[span].start, old.start);
    old.bytes = 0;
    places[init] = span;
  }
}

/// Lets a yielded value be computed in its carry's place when the incoming one
/// is read no more, or only element by element by that very computation.
void Plan::shareYields(Operation *op) {
  auto loop = cast<scf::ForOp>(op);
  for (auto [yielded, arg] : llvm::zip_equal(loop.getYieldedValues(), loop.getRegionIterArgs())) {
    Operation *def = yielded.getDefiningOp();
    if (!def || !places.contains(yielded) || isa<scf::ForOp>(def) || def->getBlock() != loop.getBody())
      continue;
    int64_t written = positions.lookup(def).first;
    bool inPlace = isa<tile::DotOp>(def) || (isPointwise(def) && !isAlwaysInline(def));
    bool safe = llvm::all_of(reads, [&, arg = arg](const Read &read) {
      return read.leaf != arg || read.position < written || (read.position == written && inPlace && read.aligned);
    });
    // A value yielded twice keeps a place of its own.
    if (!safe || llvm::count(loop.getYieldedValues(), yielded) != 1)
      continue;
    spans[places[yielded]].bytes = 0;
    places[yielded] = places[arg];
  }
}

/// Lets an init that nothing else reads be computed in the product's place.
void Plan::shareInit(tile::DotOp dot) {
  Value init = dot.getInit();
  Operation *def = init ? init.getDefiningOp() : nullptr;
  bool own = def && def->getBlock() == dot->getBlock() && init.hasOneUse() && !isa<scf::ForOp, tensor::CollapseShapeOp, tensor::ExpandShapeOp>(def) &&
             places.contains(init) && places.contains(dot);
  if (!own || spans[places[init]].start != positions.lookup(def).first || spans[places[dot]].start != positions.lookup(dot).first)
    return; // one of them stands in a carry's place
  spans[places[dot]].start = spans[places[init]].start;
  spans[places[init]].bytes = 0;
  places[init] = places[dot];
}

/// A yielded value that stands in another carry's place is copied aside first.
void Plan::planTemporaries(Operation *op) {
  auto loop = cast<scf::ForOp>(op);
  Operation *yield = loop.getBody()->getTerminator();
  for (OpOperand &operand : yield->getOpOperands()) {
    Value value = resolve(operand.get());
    auto source = places.find(value);
    if (source == places.end() || source->second == places[loop.getRegionIterArgs()[operand.getOperandNumber()]])
      continue;
    bool carried = llvm::any_of(loop.getRegionIterArgs(), [&](Value arg) { return isTensor(arg) && places[arg] == source->second; });
    if (!carried)
      continue;
    int span = newSpan(positions.lookup(yield).first, sizeOf(value));
    temporaries[&operand] = span;
  }
}

int64_t Plan::temporary(OpOperand &yielded) const {
  auto it = temporaries.find(&yielded);
  return it == temporaries.end() ? -1 : spans[it->second].offset;
}

/// First fit, in the order of definition.
void Plan::allocate() {
  SmallVector<Span *> order;
  for (Span &span : spans)
    order.push_back(&span);
  llvm::stable_sort(order, [](Span *x, Span *y) { return x->start < y->start; });
  SmallVector<Span *> alive;
  for (Span *span : order) {
    llvm::erase_if(alive, [&](Span *other) { return other->end < span->start; });
    llvm::sort(alive, [](Span *x, Span *y) { return x->offset < y->offset; });
    int64_t at = 0;
    for (Span *other : alive) {
      if (other->offset - at >= span->bytes)
        break;
      at = std::max(at, other->offset + other->bytes);
    }
    span->offset = at;
    total = std::max(total, at + span->bytes);
    alive.push_back(span);
  }
}

} // namespace fla::cpu
