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
#include "fla/Dialect/Tile/IR/Tile.h"
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
// Kinds of work
//===----------------------------------------------------------------------===//

static ArrayRef<int64_t> shapeOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? tensor.getShape() : ArrayRef<int64_t>();
}
static int64_t elements(ArrayRef<int64_t> shape) {
  int64_t product = 1;
  for (int64_t size : shape)
    product *= size;
  return product;
}
static int64_t elements(Value value) { return elements(shapeOf(value.getType())); }
static int64_t bytes(Type element) { return element.getIntOrFloatBitWidth() / 8; }
static bool isMatrix(Value value) { return shapeOf(value.getType()).size() == 2; }
/// A factor of a product.
static bool isOperand(OpOperand &use) { return isa<DotOp>(use.getOwner()) && use.getOperandNumber() < 2; }

/// The type in which a kernel's products take their operands: that of its first rows of tokens.
static Type operandType(KernelOp kernel) {
  for (BlockArgument arg : kernel.getBody().getArguments()) {
    auto buffer = cast<BufferType>(arg.getType());
    Type element = buffer.getElementType();
    if (buffer.getKind() == BufferKind::token && !buffer.getShape().empty())
      return element.isF16() || element.isBF16() ? element : Type(Float32Type::get(kernel.getContext()));
  }
  return Float32Type::get(kernel.getContext());
}

/// Work that is worth a kernel of its own.
static bool isHeavy(Operation *op) { return isa<DotOp, InverseOp, SegSumOp, SegSumGradOp, LevelDecayOp, LevelDecayGradOp>(op); }

/// Each element of the result is an element of the operand, or `arith` of elements.
static bool isElementwise(Operation *op) {
  return op->getDialect()->getNamespace() == arith::ArithDialect::getDialectNamespace() ||
         isa<BroadcastOp, TransposeOp, tensor::ExtractSliceOp, tensor::InsertSliceOp, tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op);
}

/// A tile narrower than its buffer holds the slice of one block.
static bool isNarrow(Operation *op) {
  auto narrow = [](BufferType buffer, Type tile) {
    ArrayRef<int64_t> shape = shapeOf(tile);
    if (buffer.getKind() == BufferKind::token && !shape.empty())
      shape = shape.drop_front();
    return llvm::any_of(llvm::zip(shape, buffer.getShape()), [](auto sizes) { return std::get<0>(sizes) < std::get<1>(sizes); });
  };
  if (auto load = dyn_cast<LoadOp>(op))
    return narrow(load.getBuffer().getType(), load.getType());
  if (auto store = dyn_cast<StoreOp>(op))
    return narrow(store.getBuffer().getType(), store.getValue().getType());
  return isa<FirstBlockOp>(op);
}

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

  SetVector<Value> stored;
  SmallVector<StoreOp> moved; ///< stores that leave the loop
  Value index;                ///< of the chunk
  Block *block() { return loop.getBody(); }
  /// What the kernel before it computes, in order.
  SmallVector<Operation *> work() const;

private:
  bool hasOneIndex();
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
  int64_t storedBytes() const;
  int64_t bytesOfBuffers();

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

/// All chunks that the loop touches have the same number.
bool Cut::hasOneIndex() {
  for (Operation &op : loop.getBody()->without_terminator()) {
    if (op.getNumRegions() || (!isMemoryEffectFree(&op) && !isa<LoadOp, StoreOp>(op)))
      return false;
    Value chunk;
    if (auto load = dyn_cast<LoadOp>(op))
      chunk = load.getChunk();
    else if (auto store = dyn_cast<StoreOp>(op))
      chunk = store.getChunk();
    else if (auto valid = dyn_cast<ValidOp>(op))
      chunk = valid.getChunk();
    if (!chunk)
      continue;
    if (index && chunk != index)
      return false;
    index = chunk;
  }
  return static_cast<bool>(index);
}

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
  int64_t leaves = 0, all = llvm::count_if(*loop.getBody(), [](Operation &op) { return isHeavy(&op); });
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

/// Of one chunk.
int64_t Cut::bytesOfBuffers() {
  int64_t sum = 0;
  for (BlockArgument arg : kernel.getBody().getArguments()) {
    auto buffer = cast<BufferType>(arg.getType());
    if (buffer.getKind() == BufferKind::token || buffer.getKind() == BufferKind::saved)
      sum += elements(buffer.getShape()) * bytes(buffer.getElementType()) * (buffer.getKind() == BufferKind::token ? kernel.getChunk() : 1);
  }
  return sum;
}

bool Cut::find() {
  if (!hasOneIndex())
    return false;
  int64_t widest = kernel.getChunk();
  for (BlockArgument arg : kernel.getBody().getArguments())
    if (auto buffer = cast<BufferType>(arg.getType()); buffer.getKind() == BufferKind::token)
      widest = std::max(widest, elements(buffer.getShape()));
  largest = widest * kernel.getChunk();
  markSliced();
  // A reverse loop has less to gain: it reads states that were stored, and gradients leave it.
  int64_t room = bytesOfBuffers() * (index == loop.getInductionVar() ? 2 : 1);
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
/// Arguments of a kernel as its attributes list them.
struct Arguments {
  SmallVector<Attribute> names, roles;
  SmallVector<bool> outputs, partial;

  void add(StringAttr name, Attribute role, bool output, bool isPartial) {
    names.push_back(name);
    roles.push_back(role);
    outputs.push_back(output);
    partial.push_back(isPartial);
  }
  void addOf(KernelOp kernel, unsigned i) {
    auto role = kernel->getAttrOfType<ArrayAttr>("roles");
    auto part = kernel->getAttrOfType<ArrayAttr>("partial");
    Builder b(kernel.getContext());
    add(b.getStringAttr(kernel.getArgName(i)), role ? role[i] : b.getStringAttr(""), kernel.getOutputs()[i],
        part && cast<BoolAttr>(part[i]).getValue());
  }
  void give(KernelOp kernel, bool described) const {
    Builder b(kernel.getContext());
    kernel.setArgNamesAttr(b.getArrayAttr(names));
    kernel.setOutputs(outputs);
    if (!described)
      return;
    kernel->setAttr("roles", b.getArrayAttr(roles));
    kernel->setAttr("partial", b.getBoolArrayAttr(partial));
  }
};

class Fission {
public:
  Fission(KernelOp kernel, Cut &cut)
      : kernel(kernel), cut(cut), builder(kernel), described(kernel->hasAttr("roles")), operands(operandType(kernel)) {}
  void run();

private:
  void buildChunks();
  void loadStored();
  void dropUnused();
  void narrowOperands();

  /// A stored value, where it is written and where it is read.
  struct Buffer {
    std::string name;
    Value value, written, read;
    LoadOp load;
  };
  KernelOp kernel;
  Cut &cut;
  OpBuilder builder;
  bool described; ///< arguments have roles
  Type operands;  ///< in which products take them
  SmallVector<Buffer> buffers;
};
} // namespace

static BufferType bufferFor(Value value, Type element) {
  return BufferType::get(value.getContext(), BufferKind::saved, shapeOf(value.getType()), element);
}

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
    builder.clone(*op, mapping);
  for (auto [i, value] : llvm::enumerate(cut.stored)) {
    Value written = body->addArgument(bufferFor(value, getElementTypeOrSelf(value.getType())), value.getLoc());
    buffers.push_back({name + "." + std::to_string(i), value, written, Value(), LoadOp()});
    arguments.add(builder.getStringAttr(buffers.back().name), builder.getStringAttr("temp"), true, false);
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
  for (unsigned i = 0; i < kernel.getBody().getNumArguments(); ++i)
    arguments.addOf(kernel, i);
  if (Operation *op = cut.index.getDefiningOp())
    builder.setInsertionPointAfter(op);
  else
    builder.setInsertionPointToStart(cast<BlockArgument>(cut.index).getOwner());
  for (Buffer &buffer : buffers) {
    Value value = buffer.value;
    arguments.add(builder.getStringAttr(buffer.name), builder.getStringAttr("temp"), false, false);
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

/// Work that moved leaves, and so do buffers that nothing touches any more.
void Fission::dropUnused() {
  Block &body = kernel.getBody().front();
  llvm::BitVector before(body.getNumArguments());
  for (Block *block : {cut.block(), &body})
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(*block)))
      if (isOpTriviallyDead(&op))
        op.erase();
  Arguments arguments;
  for (BlockArgument arg : body.getArguments())
    if (arg.use_empty())
      before.set(arg.getArgNumber());
    else
      arguments.addOf(kernel, arg.getArgNumber());
  arguments.give(kernel, described);
  body.eraseArguments(before);
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

void Fission::run() {
  buildChunks();
  loadStored();
  dropUnused();
  narrowOperands();
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

/// The loop over chunks of a kernel that carries something from one to the next.
static scf::ForOp chunkLoop(KernelOp kernel) {
  if (kernel.getOverChunks() || kernel.getChunk() == 1)
    return {};
  auto loops = llvm::to_vector(kernel.getBody().getOps<scf::ForOp>());
  return loops.size() == 1 && loops[0].getNumRegionIterArgs() ? loops[0] : scf::ForOp();
}

namespace {
struct FissionLoops : fla::impl::FissionLoopsBase<FissionLoops> {
  void runOnOperation() override {
    for (auto kernel : llvm::to_vector(getOperation().getOps<KernelOp>()))
      if (scf::ForOp loop = chunkLoop(kernel))
        if (Cut cut(kernel, loop); cut.find())
          Fission(kernel, cut).run();
  }
};
} // namespace
