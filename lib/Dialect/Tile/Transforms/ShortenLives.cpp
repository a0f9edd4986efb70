//===- ShortenLives.cpp - fewer tiles in registers at once ----------------===//
//
//   %a = tile.load ; %b = tile.load              %a = tile.load ; %x = tile.dot %a, %s
//   %x = tile.dot %a, %s ; %y = tile.dot %b, %s  ==>  %c = tile.dot %x, %t
//   %c = tile.dot %x, %t ; %d = tile.dot %y, %t  %b = tile.load ; %y = tile.dot %b, %s ; ...
//
// An order for products and for what depends on them: that which ends most lives goes
// first. What is computed from loads by elementwise work and sums of gates goes where it
// is first used. Loads from far away go as far ahead as there is room for them.
//
// For examples see test/Dialect/Tile/Transforms/shorten-lives.mlir.
//===----------------------------------------------------------------------===//
#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace fla::tile;

namespace fla {
#define GEN_PASS_DEF_SHORTENLIVES
#include "fla/Dialect/Tile/Transforms/Passes.h.inc"
} // namespace fla

namespace {

/// Registers that a thread holds a value in; none for what is the same everywhere.
int64_t weightOf(Value value) {
  auto layout = layoutOf(value.getType());
  Operation *op = value.getDefiningOp();
  if (!layout || (op && (op->hasTrait<OpTrait::ConstantLike>() || (isa<BroadcastOp>(op) && !isa<RankedTensorType>(op->getOperand(0).getType())))))
    return 0;
  bool truth = getElementTypeOrSelf(value.getType()).isInteger(1);
  return truth ? llvm::divideCeil(layout->numRegisters(), 8) : layout->numRegisters();
}

/// Work that may wait until its result is used: it needs little more than registers.
bool isLight(Operation *op) {
  StringRef dialect = op->getName().getDialectNamespace();
  return op->getNumResults() == 1 && !op->hasTrait<OpTrait::IsTerminator>() &&
         (dialect == "arith" || dialect == "math" || isa<LoadOp, ReadOp, BroadcastOp, ValidOp, InsideOp, ConvertLayoutOp>(op) ||
          isa<CumSumOp, SegSumOp, LevelDecayOp>(op));
}

/// The different operands of an operation.
SmallVector<Value, 4> operandsOf(Operation *op) {
  SmallVector<Value, 4> list;
  for (Value operand : op->getOperands())
    if (!llvm::is_contained(list, operand))
      list.push_back(operand);
  return list;
}

class Shortener {
public:
  Shortener(Block &block, int64_t budget) : block(block), budget(budget) {}

  void run() {
    // Much of what is held for products has gone to shared memory by then.
    if (!begin() || pressure() <= 2 * budget)
      return;
    classify();
    chooseOrder();
    emit();
  }

private:
  /// What does not wait: one step of the order.
  struct Step {
    Operation *op;
    SmallVector<int64_t> needs;   ///< steps
    llvm::SetVector<Value> reads; ///< results of steps, and what waits for this step or was needed for it
  };
  /// What is missing for a step, and what taking it means.
  struct Plan {
    SmallVector<int64_t> steps;
    int64_t growth = 0, ended = 0, peak = 0; ///< registers
    auto key() const { return std::tuple(growth + peak, growth, -ended); }
  };

  bool begin();
  int64_t pressure();
  bool isMovable(Operation *op);
  void classify();
  void addStep(Operation *op);
  void addReads(Step &step, Operation *op);
  std::optional<Plan> planFor(int64_t goal);
  Plan nextPlan();
  void chooseOrder();
  int64_t firstUse(Operation *light);
  int64_t lastUse(Value value);
  void place(Operation *op);
  void loadAhead(int64_t position);
  void emit();

  Block &block;
  int64_t budget;
  Operation *first = nullptr; ///< what is before stays where it is
  llvm::SetVector<Operation *> light;
  std::vector<Step> steps;
  DenseMap<Operation *, int64_t> stepOf;
  std::optional<int64_t> lastEffect; ///< the step that others with effects follow
  std::vector<bool> taken;
  DenseMap<Value, int64_t> readers; ///< steps that are not taken and read a value
  llvm::DenseSet<Value> begun;      ///< values that a step that is taken reads
  SmallVector<int64_t> order;
  DenseMap<Operation *, int64_t> positionOf, firstUses; ///< in the order, of a step and of what waits
  DenseMap<Value, int64_t> live;                        ///< what is held: the position of its last use
  SmallVector<Operation *> loads;                       ///< that are not placed, by their first uses
};

/// Blocks without regions; waits and copies stay where they are, and all before them.
bool Shortener::begin() {
  if (llvm::any_of(block, [](Operation &op) { return op.getNumRegions() > 0; }))
    return false;
  first = block.empty() ? nullptr : &block.front();
  for (Operation &op : block)
    if (isa<WaitOp, CopyOp, AllocOp>(op))
      first = op.getNextNode();
  return first && !first->hasTrait<OpTrait::IsTerminator>();
}

/// Most registers of tiles at once, in the order that is there.
int64_t Shortener::pressure() {
  DenseMap<Value, Operation *> last;
  int64_t now = 0, most = 0;
  for (Operation &op : block)
    for (Value operand : op.getOperands()) {
      bool isNew = last.try_emplace(operand, &op).second;
      last[operand] = &op;
      if (isNew && (isa<BlockArgument>(operand) || operand.getParentBlock() != &block))
        now += weightOf(operand);
    }
  for (Operation &op : block) {
    for (Value result : op.getResults())
      now += last.contains(result) ? weightOf(result) : 0;
    most = std::max(most, now);
    for (Value operand : operandsOf(&op))
      now -= last[operand] == &op ? weightOf(operand) : 0;
  }
  return most;
}

/// Loads may move where nothing in the block writes what they read.
bool Shortener::isMovable(Operation *op) {
  if (isMemoryEffectFree(op) || isa<ReadOp>(op))
    return true;
  auto load = dyn_cast<LoadOp>(op);
  return load && llvm::none_of(block.getOps<StoreOp>(), [&](StoreOp store) { return store.getBuffer() == load.getBuffer(); });
}

void Shortener::classify() {
  for (Operation &op : llvm::make_range(Block::iterator(first), block.end())) {
    bool waits = isLight(&op) && isMovable(&op) && llvm::none_of(op.getOperands(), [&](Value x) { return stepOf.contains(x.getDefiningOp()); });
    if (waits)
      light.insert(&op);
    else
      addStep(&op);
  }
}

void Shortener::addStep(Operation *op) {
  int64_t number = steps.size();
  steps.push_back({op, {}, {}});
  auto need = [&](int64_t other) {
    if (!llvm::is_contained(steps[number].needs, other))
      steps[number].needs.push_back(other);
  };
  for (Value operand : op->getOperands())
    if (auto from = stepOf.find(operand.getDefiningOp()); from != stepOf.end())
      need(from->second);
  addReads(steps[number], op);
  for (Value value : steps[number].reads)
    ++readers[value];
  if (op->hasTrait<OpTrait::IsTerminator>()) {
    for (int64_t other = 0; other < number; ++other)
      need(other);
  } else if (!isMovable(op)) {
    if (lastEffect)
      need(*lastEffect);
    lastEffect = number;
  }
  stepOf[op] = number;
}

void Shortener::addReads(Step &step, Operation *op) {
  for (Value operand : op->getOperands()) {
    Operation *from = operand.getDefiningOp();
    bool waits = from && light.contains(from);
    if ((waits || stepOf.contains(from)) && step.reads.insert(operand) && waits)
      addReads(step, from);
  }
}

//===----------------------------------------------------------------------===//
// The order of the steps
//===----------------------------------------------------------------------===//

/// A step and all that it waits for; none if that is much.
std::optional<Shortener::Plan> Shortener::planFor(int64_t goal) {
  constexpr size_t kMost = 16;
  Plan plan;
  SmallVector<int64_t> left{goal};
  llvm::SmallDenseSet<int64_t> seen{goal};
  while (!left.empty()) {
    int64_t step = left.pop_back_val();
    plan.steps.push_back(step);
    if (plan.steps.size() > kMost)
      return std::nullopt;
    for (int64_t need : steps[step].needs)
      if (!taken[need] && seen.insert(need).second)
        left.push_back(need);
  }
  llvm::sort(plan.steps);
  llvm::SmallDenseMap<Value, int64_t> reads;
  for (int64_t step : plan.steps) {
    for (Value result : steps[step].op->getResults())
      plan.growth += readers.lookup(result) ? weightOf(result) : 0;
    plan.peak = std::max(plan.peak, plan.growth);
    for (Value value : steps[step].reads) {
      int64_t count = ++reads[value], weight = weightOf(value);
      if (count == 1 && !begun.contains(value) && !stepOf.contains(value.getDefiningOp()))
        plan.growth += weight;
      if (count == readers.lookup(value)) {
        plan.growth -= weight;
        plan.ended += weight;
      }
    }
  }
  return plan;
}

/// The steps after which, and during which, least is held; of equals those that end most lives, then the first.
Shortener::Plan Shortener::nextPlan() {
  std::optional<Plan> best;
  std::optional<int64_t> ready;
  for (int64_t step = 0; step < int64_t(steps.size()); ++step) {
    if (taken[step])
      continue;
    ArrayRef<int64_t> needs = steps[step].needs;
    auto isTaken = [&](int64_t need) { return taken[need]; };
    if (!ready && llvm::all_of(needs, isTaken))
      ready = step;
    if ((!needs.empty() && llvm::none_of(needs, isTaken)) || steps[step].op->hasTrait<OpTrait::IsTerminator>())
      continue;
    std::optional<Plan> plan = planFor(step);
    if (plan && (!best || plan->key() < best->key()))
      best = plan;
  }
  return best ? *best : Plan{{*ready}};
}

void Shortener::chooseOrder() {
  taken.assign(steps.size(), false);
  while (order.size() < steps.size())
    for (int64_t step : nextPlan().steps) {
      taken[step] = true;
      positionOf[steps[step].op] = order.size();
      order.push_back(step);
      for (Value value : steps[step].reads) {
        begun.insert(value);
        --readers[value];
      }
    }
}

//===----------------------------------------------------------------------===//
// What waits
//===----------------------------------------------------------------------===//

/// The position at which an operation that waits is placed at the latest.
int64_t Shortener::firstUse(Operation *op) {
  if (auto it = firstUses.find(op); it != firstUses.end())
    return it->second;
  int64_t least = order.size();
  for (Operation *user : op->getUsers())
    least = std::min(least, light.contains(user) ? firstUse(user) : positionOf.lookup(user));
  return firstUses[op] = least;
}

int64_t Shortener::lastUse(Value value) {
  int64_t most = -1;
  for (Operation *user : value.getUsers())
    most = std::max(most, light.contains(user) ? firstUse(user) : positionOf.lookup(user));
  return most;
}

/// Puts an operation, and what it waits for, at the end of the block.
void Shortener::place(Operation *op) {
  if (light.contains(op) && live.contains(op->getResult(0)))
    return;
  for (Value operand : op->getOperands())
    if (Operation *from = operand.getDefiningOp(); from && light.contains(from))
      place(from);
  op->moveBefore(&block, block.end());
  for (Value result : op->getResults())
    live[result] = lastUse(result);
}

/// Loads of the caller's memory that are used next, while they fit.
void Shortener::loadAhead(int64_t position) {
  int64_t held = 0;
  for (auto [value, last] : live)
    held += last >= position ? weightOf(value) : 0;
  for (Operation *&load : loads) {
    if (!load || live.contains(load->getResult(0))) {
      load = nullptr;
      continue;
    }
    held += weightOf(load->getResult(0));
    if (held > budget)
      break;
    place(load);
    load = nullptr;
  }
}

void Shortener::emit() {
  for (Operation &op : block)
    for (Value operand : op.getOperands())
      if (isa<BlockArgument>(operand) || operand.getParentBlock() != &block)
        live.try_emplace(operand, order.size());
  for (auto &[value, last] : live)
    last = isa<BlockArgument>(value) && value.getParentBlock() == &block ? lastUse(value) : int64_t(order.size());
  for (Operation *op : light)
    if (isa<LoadOp>(op))
      loads.push_back(op);
  llvm::stable_sort(loads, [&](Operation *x, Operation *y) { return firstUse(x) < firstUse(y); });
  for (auto [position, step] : llvm::enumerate(order)) {
    loadAhead(position);
    place(steps[step].op);
  }
}

struct ShortenLives : fla::impl::ShortenLivesBase<ShortenLives> {
  using ShortenLivesBase::ShortenLivesBase;

  void runOnOperation() override {
    getOperation().walk([&](KernelOp kernel) {
      Shortener(kernel.getBody().front(), registers).run();
      kernel.walk([&](scf::ForOp loop) { Shortener(*loop.getBody(), registers).run(); });
    });
  }
};
} // namespace
