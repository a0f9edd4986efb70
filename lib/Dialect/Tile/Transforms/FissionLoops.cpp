//===- FissionLoops.cpp - what needs no state, for all chunks at once -----===//
//
//   tile.kernel @f(%q, %k, %v, %state, out %o) {
//     scf.for %c iter_args(%s) {
//       %p = tile.dot %q, %k pairs(causal)   // depends on the chunk alone
//       tile.dot %p, %v pairs(causal)  ...   // added to what is read of %s
//     }
//   }
//   ==>
//   tile.kernel @f_chunks(%q, %k, out %p) { %c = tile.chunk_id  tile.store (tile.dot %q, %k), %p[%c] }
//   tile.kernel @f(%q, %k, %v, %p, %state, out %o) {
//     scf.for %c iter_args(%s) { tile.dot (tile.load %p[%c]), %v ... }
//   }
//
// For examples see test/Dialect/Tile/Transforms/fission-loops.mlir.
//===----------------------------------------------------------------------===//
#include "FissionCarries.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace fla::tile;

namespace fla {
#define GEN_PASS_DEF_FISSIONLOOPS
#include "fla/Dialect/Tile/Transforms/Passes.h.inc"
} // namespace fla

//===----------------------------------------------------------------------===//
// Zeros of matrices over pairs of tokens
//===----------------------------------------------------------------------===//

/// Whether every pair of `inner` is one of `outer`.
static bool includes(Pairs outer, int64_t outerLevel, Pairs inner, int64_t innerLevel) {
  switch (outer) {
  case Pairs::all:
    return true;
  case Pairs::causal:
    return inner != Pairs::all;
  case Pairs::strict:
    return inner == Pairs::strict || inner == Pairs::level;
  case Pairs::diagonal:
    return inner == Pairs::diagonal;
  case Pairs::level:
    return inner == Pairs::level && innerLevel == outerLevel;
  }
  return false;
}

/// Whether a matrix is zero outside these pairs.
static bool isZeroOutside(Value value, Pairs pairs, int64_t level) {
  Operation *op = value.getDefiningOp();
  if (!op || matchPattern(value, m_AnyZeroFloat()))
    return op;
  auto zero = [&](Value operand) { return isZeroOutside(operand, pairs, level); };
  if (auto dot = dyn_cast<DotOp>(op))
    return dot.restrictsResult() && includes(pairs, level, dot.getPairs(), dot.getLevel());
  if (isa<InverseOp>(op))
    return pairs == Pairs::causal;
  // The other factor is finite: a sum over a chunk, its exponential, what scales rows.
  if (isa<arith::MulFOp>(op))
    return zero(op->getOperand(0)) || zero(op->getOperand(1));
  if (isa<arith::AddFOp, arith::SubFOp, arith::NegFOp>(op))
    return llvm::all_of(op->getOperands(), zero);
  if (auto exp = dyn_cast<math::ExpOp>(op)) { // exp(-inf)
    auto sums = exp.getOperand().getDefiningOp<SegSumOp>();
    return sums && includes(pairs, level, sums.getStrict() || sums.getPre() ? Pairs::strict : Pairs::causal, 0);
  }
  return false;
}

//===----------------------------------------------------------------------===//
// What to store
//===----------------------------------------------------------------------===//

namespace {
/// Divides the loop of a kernel into what stays and what a kernel before it stores.
class Cut {
public:
  Cut(KernelOp kernel, scf::ForOp loop) : kernel(kernel), loop(loop) {}
  /// False if there is nothing to gain, or too much to store.
  bool find();
  int64_t storedBytes() const;

  int64_t leaves = 0; ///< heavy operations that leave the loop
  SetVector<Value> stored;
  SmallVector<StoreOp> moved; ///< stores that leave the loop
  Value index;                ///< of the chunk
  Block *block() { return loop.getBody(); }
  /// What the kernel before it computes, in order.
  SmallVector<Operation *> work() const;

private:
  void markSliced();
  void markSerial();
  bool inLoop(Operation *op) const { return op && op->getBlock() == &loop->getRegion(0).front(); }
  bool isCheap(Value value);
  int64_t partElements(Value value, DenseSet<Value> &seen);
  bool canStore(Value value) const;
  void need(Value value, bool asOperand);
  void needOperands(Operation *op);
  void solve();
  bool pays();

  KernelOp kernel;
  scf::ForOp loop;
  DenseSet<Operation *> serial; ///< depend on what is carried, or must stay
  DenseSet<Operation *> forced; ///< free of it, but neither cheap nor fit to be stored
  DenseSet<Operation *> sliced; ///< differ between blocks
  DenseSet<Value> needed;
  DenseSet<Value> mixed; ///< needed by more than products
  DenseMap<Value, bool> cheap;
  bool lean = false; ///< no matrices but operands of products
  int64_t largest = 0;
};
} // namespace

void Cut::markSliced() {
  kernel.walk([&](Operation *op) {
    bool inherits = llvm::any_of(op->getOperands(), [&](Value operand) { return sliced.contains(operand.getDefiningOp()); });
    if (inherits || isNarrow(op))
      sliced.insert(op);
  });
}

void Cut::markSerial() {
  serial = forced;
  for (Operation &op : loop.getBody()->without_terminator()) {
    bool reads = llvm::any_of(op.getOperands(), [&](Value operand) {
      return llvm::is_contained(loop.getRegionIterArgs(), operand) || serial.contains(operand.getDefiningOp());
    });
    if (reads)
      serial.insert(&op);
  }
}

/// Loads, and elementwise arithmetic on them: the loop does it again. Not so numbers of tokens, which
/// lie apart in the caller's memory: stored side by side they arrive in one piece.
bool Cut::isCheap(Value value) {
  Operation *op = value.getDefiningOp();
  if (auto load = dyn_cast_or_null<LoadOp>(op); load && inLoop(op))
    return load.getBuffer().getType().getKind() != BufferKind::token || shapeOf(load.getType()).size() != 1;
  if (!inLoop(op) || isa<ValidOp, InsideOp>(op))
    return true;
  if (auto it = cheap.find(value); it != cheap.end())
    return it->second;
  bool is = isElementwise(op) && llvm::all_of(op->getOperands(), [&](Value operand) { return isCheap(operand); });
  return cheap[value] = is;
}

/// Elements to store so that elementwise operations give `value`.
int64_t Cut::partElements(Value value, DenseSet<Value> &seen) {
  if (!seen.insert(value).second || isCheap(value) || needed.contains(value))
    return 0;
  Operation *op = value.getDefiningOp();
  if (!isElementwise(op))
    return elements(value);
  int64_t sum = 0;
  for (Value operand : op->getOperands())
    sum += partElements(operand, seen);
  return sum;
}

bool Cut::canStore(Value value) const {
  if (lean && mixed.contains(value) && shapeOf(value.getType()).size() > 1)
    return false;
  return isa<FloatType>(getElementTypeOrSelf(value.getType())) && !sliced.contains(value.getDefiningOp()) && elements(value) <= largest;
}

/// Makes a value that depends on the chunk alone available in the loop.
void Cut::need(Value value, bool asOperand) {
  Operation *op = value.getDefiningOp();
  if (!inLoop(op) || serial.contains(op) || isCheap(value))
    return;
  if (!asOperand)
    mixed.insert(value);
  if (!needed.contains(value)) {
    DenseSet<Value> seen;
    bool smallParts = isElementwise(op) && 4 * partElements(value, seen) <= elements(value);
    needed.insert(value);
    if (smallParts)
      return needOperands(op);
    stored.insert(value);
  }
  if (stored.contains(value) && !canStore(value))
    forced.insert(op);
}

void Cut::needOperands(Operation *op) {
  for (OpOperand &operand : op->getOpOperands())
    need(operand.get(), isOperand(operand));
}

/// What to store, and what must stay so that it need not be.
void Cut::solve() {
  size_t before;
  do { // until nothing more is forced to stay
    before = forced.size();
    stored.clear(), moved.clear(), needed.clear(), mixed.clear();
    markSerial();
    for (Operation &op : *loop.getBody()) {
      auto store = dyn_cast<StoreOp>(op);
      if (store && !serial.contains(&op) && !isCheap(store.getValue()) && !sliced.contains(&op))
        moved.push_back(store);
      else if (serial.contains(&op) || store || op.hasTrait<OpTrait::IsTerminator>())
        needOperands(&op);
    }
  } while (forced.size() > before);
}

/// At least a quarter of the heavy work leaves the loop, and a kernel over chunks can do it.
bool Cut::pays() {
  int64_t all = llvm::count_if(*loop.getBody(), [](Operation &op) { return isHeavy(&op); });
  leaves = 0;
  for (Operation *op : work()) {
    if (index != loop.getInductionVar() && llvm::is_contained(op->getOperands(), loop.getInductionVar()))
      return false;
    leaves += inLoop(op) && isHeavy(op) && !serial.contains(op);
  }
  return leaves > 0 && 4 * leaves >= all;
}

int64_t Cut::storedBytes() const {
  int64_t sum = 0;
  for (Value value : stored) {
    Type type = isMatrix(value) && !mixed.contains(value) ? operandType(kernel) : getElementTypeOrSelf(value.getType());
    sum += elements(value) * bytes(type);
  }
  return sum;
}

bool Cut::find() {
  index = chunkIndexOf(loop);
  if (!index)
    return false;
  int64_t widest = kernel.getChunk();
  for (BlockArgument arg : kernel.getBody().getArguments())
    if (auto buffer = cast<BufferType>(arg.getType()); buffer.getKind() == BufferKind::token)
      widest = std::max(widest, elements(buffer.getShape()));
  largest = widest * kernel.getChunk();
  markSliced();
  // A reverse loop has less to gain: it reads states that were stored, and gradients leave it.
  int64_t room = bytesOfBuffers(kernel) * (index == loop.getInductionVar() ? 2 : 1);
  for (bool onlyOperands : {false, true}) {
    lean = onlyOperands;
    forced.clear();
    solve();
    if (!pays())
      return false;
    if (storedBytes() <= room)
      return true;
  }
  return false;
}

SmallVector<Operation *> Cut::work() const {
  SetVector<Operation *> found;
  auto add = [&](Operation *op) {
    for (Value operand : op->getOperands())
      if (Operation *from = operand.getDefiningOp(); from && operand != index)
        found.insert(from);
  };
  for (Value value : stored)
    found.insert(value.getDefiningOp());
  for (StoreOp store : moved)
    found.insert(store);
  for (size_t i = 0; i < found.size(); ++i)
    add(found[i]);
  SmallVector<Operation *> ordered;
  kernel->walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (found.contains(op))
      ordered.push_back(op);
  });
  return ordered;
}

//===----------------------------------------------------------------------===//
// Two kernels of one
//===----------------------------------------------------------------------===//

namespace {
class Fission {
public:
  Fission(KernelOp kernel, Cut &cut)
      : kernel(kernel), cut(cut), builder(kernel), described(kernel->hasAttr("roles")), operands(operandType(kernel)) {}
  void run();

private:
  void buildChunks();
  void loadStored();
  void narrowOperands();
  void shareWithTwins();

  /// A stored value, where it is written and where it is read.
  struct Buffer {
    std::string name;
    Value value, written, read;
    Attribute twin; ///< number of the copy of what computed it
    LoadOp load;
  };
  void loadInstead(KernelOp other, Operation *twin, const Buffer &buffer);
  KernelOp kernel;
  Cut &cut;
  OpBuilder builder;
  bool described; ///< arguments have roles
  Type operands;  ///< in which products take them
  SmallVector<Buffer> buffers;
};
} // namespace

/// The kernel over chunks: the work, then its stores.
void Fission::buildChunks() {
  std::string name = (kernel.getSymName() + "_chunks").str();
  auto chunks = KernelOp::create(builder, kernel.getLoc(), name, builder.getArrayAttr({}), ArrayRef<bool>{}, kernel.getChunk(), /*blocks=*/1,
                                 /*over_chunks=*/true);
  Block *body = builder.createBlock(&chunks.getBody());
  SmallVector<Operation *> work = cut.work();
  Arguments arguments;
  IRMapping mapping;
  for (BlockArgument arg : kernel.getBody().getArguments())
    if (llvm::any_of(work, [&](Operation *op) { return llvm::is_contained(op->getOperands(), arg); })) {
      arguments.addOf(kernel, arg.getArgNumber());
      mapping.map(arg, body->addArgument(arg.getType(), arg.getLoc()));
    }
  mapping.map(cut.index, ChunkIdOp::create(builder, kernel.getLoc()).getResult());
  for (Operation *op : work)
    builder.clone(*op, mapping)->removeAttr(kTwinAttr);
  for (auto [i, value] : llvm::enumerate(cut.stored)) {
    Value written = body->addArgument(bufferFor(value, getElementTypeOrSelf(value.getType())), value.getLoc());
    buffers.push_back({name + "." + std::to_string(i), value, written, Value(), value.getDefiningOp()->getAttr(kTwinAttr), LoadOp()});
    arguments.addTemp(builder, buffers.back().name, /*output=*/true);
    StoreOp::create(builder, value.getLoc(), mapping.lookup(value), written, mapping.lookup(cut.index));
  }
  ReturnOp::create(builder, kernel.getLoc());
  arguments.give(chunks, described);
  // The arguments that told lie in one of two kernels now.
  for (KernelOp part : {chunks, kernel})
    part->setAttr("operands", TypeAttr::get(operands));
}

void Fission::loadStored() {
  Arguments arguments;
  arguments.addAll(kernel);
  if (Operation *op = cut.index.getDefiningOp())
    builder.setInsertionPointAfter(op);
  else
    builder.setInsertionPointToStart(cast<BlockArgument>(cut.index).getOwner());
  for (Buffer &buffer : buffers) {
    Value value = buffer.value;
    arguments.addTemp(builder, buffer.name, /*output=*/false);
    buffer.read = kernel.getBody().addArgument(cast<BufferType>(buffer.written.getType()), value.getLoc());
    buffer.load = LoadOp::create(builder, value.getLoc(), value.getType(), buffer.read, cut.index, APFloat(0.0));
    for (Operation *user : value.getUsers())
      if (auto dot = dyn_cast<DotOp>(user);
          dot && dot.getA() == value && !dot.restrictsResult() && isZeroOutside(value, dot.getPairs(), dot.getLevel())) {
        dot.setPairs(Pairs::all);
        dot.setLevel(0);
      }
    value.replaceAllUsesWith(buffer.load);
  }
  arguments.give(kernel, described);
  for (StoreOp store : cut.moved)
    store.erase();
}

/// Matrices that are operands of products alone keep what products take of them.
void Fission::narrowOperands() {
  for (Buffer &buffer : buffers) {
    if (!getElementTypeOrSelf(buffer.load.getType()).isF32() || !isMatrix(buffer.load) || !llvm::all_of(buffer.load->getUses(), isOperand))
      continue;
    for (Value side : {buffer.written, buffer.read})
      side.setType(bufferFor(buffer.load, operands));
  }
}

/// A kernel after the loop that does again what is stored now loads it.
void Fission::shareWithTwins() {
  for (Buffer &buffer : buffers) {
    auto number = buffer.twin;
    if (!number)
      continue;
    for (auto other : kernel->getParentOfType<ModuleOp>().getOps<KernelOp>()) {
      Operation *twin = nullptr;
      for (Operation &op : other.getBody().front())
        twin = other != kernel && op.getAttr(kTwinAttr) == number && other.getOverChunks() && !op.use_empty() ? &op : twin;
      if (twin)
        loadInstead(other, twin, buffer);
    }
  }
}

void Fission::loadInstead(KernelOp other, Operation *twin, const Buffer &buffer) {
  Value value = twin->getResult(0);
  auto stored = cast<BufferType>(buffer.written.getType());
  bool narrow = stored.getElementType() != getElementTypeOrSelf(value.getType());
  if (narrow && !llvm::all_of(value.getUses(), isOperand))
    return;
  Arguments arguments;
  arguments.addAll(other);
  arguments.addTemp(builder, buffer.name, /*output=*/false);
  Value read = other.getBody().addArgument(stored, twin->getLoc());
  arguments.give(other, described);
  Value chunk = *other.getBody().getOps<ChunkIdOp>().begin();
  builder.setInsertionPointAfter(chunk.getDefiningOp()); // where all loads are
  value.replaceAllUsesWith(LoadOp::create(builder, twin->getLoc(), value.getType(), read, chunk, APFloat(0.0)));
  dropUnused(other, &other.getBody().front());
}

void Fission::run() {
  buildChunks();
  loadStored();
  dropUnused(kernel, cut.block());
  narrowOperands();
  shareWithTwins();
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

static void divideLoop(KernelOp kernel) {
  scf::ForOp loop = chunkLoop(kernel);
  if (Cut cut(kernel, loop); loop && cut.find())
    Fission(kernel, cut).run();
}

/// Scans go round a loop of their own before the rest, in which what depends on them alone depends on no
/// state then. The kernel stays as it is if no more heavy work leaves its loop for that, unless blocks
/// did the scans alike, or if more is stored than it reads and writes.
static bool divideEarly(KernelOp &kernel) {
  scf::ForOp loop = chunkLoop(kernel);
  if (!loop || chunkIndexOf(loop) != loop.getInductionVar())
    return false;
  Carries carries(kernel, loop);
  if (!carries.findEarly())
    return false;
  Cut without(kernel, loop);
  int64_t leaves = without.find() ? without.leaves : 0;
  OwningOpRef<Operation *> whole = kernel->clone();
  std::string name = kernel.getSymName().str();
  kernel.setSymName(name + "_early");
  KernelOp rest = carries.divide(name);
  Cut cut(rest, chunkLoop(rest));
  if (cut.find() && cut.storedBytes() <= bytesOfBuffers(rest) && (cut.leaves > leaves || rest.getBlocks() > 1)) {
    kernel.setBlocks(1);
    Fission(rest, cut).run();
    return true;
  }
  rest->erase();
  kernel = restore(kernel, std::move(whole));
  return false;
}

namespace {
struct FissionLoops : fla::impl::FissionLoopsBase<FissionLoops> {
  void runOnOperation() override {
    for (auto kernel : llvm::to_vector(getOperation().getOps<KernelOp>()))
      if (!divideEarly(kernel))
        divideLoop(kernel);
    getOperation().walk([](Operation *op) { op->removeAttr(kTwinAttr); });
  }
};
} // namespace
