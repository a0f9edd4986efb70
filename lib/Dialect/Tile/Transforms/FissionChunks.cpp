//===- FissionChunks.cpp - two kernels over chunks of a long one ----------===//
//
//   tile.kernel @f(%q, %k, %v, out %dq, out %dk) over_chunks {
//     %p = tile.dot %q, %k  ...  tile.store .., %dq[%c]
//     %x = tile.dot %p, %v  ...  tile.store .., %dk[%c]
//   }
//   ==>
//   tile.kernel @f_part0(%q, %k, out %dq, out %0) over_chunks { %p = tile.dot %q, %k  tile.store %p, %0[%c]  ... }
//   tile.kernel @f(%v, %0, out %dk) over_chunks { %x = tile.dot (tile.load %0[%c]), %v  ... }
//
// For examples see test/Dialect/Tile/Transforms/fission-chunks.mlir.
//===----------------------------------------------------------------------===//
#include "Halves.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Pass/PassManager.h"

using namespace mlir;
using namespace fla::tile;

namespace fla {
#define GEN_PASS_DEF_FISSIONCHUNKS
#include "fla/Dialect/Tile/Transforms/Passes.h.inc"
} // namespace fla

namespace {
/// A value of the first kernel that the second reads.
struct Shared {
  std::string name;
  Value written, read; ///< in the first, in the second
  BufferType buffer;
};

/// The parts of a kernel.
class Division {
public:
  Division(KernelOp kernel, int64_t longest) : name(kernel.getSymName()), longest(longest), parts{kernel} {}
  void run();

private:
  bool divide(unsigned i);

  std::string name; ///< of the whole
  int64_t longest;
  SmallVector<KernelOp> parts; ///< in order
  int64_t numShared = 0;
};
} // namespace

static Value chunkOf(KernelOp kernel) { return *kernel.getBody().getOps<ChunkIdOp>().begin(); }

static void storeShared(KernelOp first, ArrayRef<Shared> values) {
  Arguments arguments;
  arguments.addAll(first);
  OpBuilder builder(first);
  builder.setInsertionPoint(first.getBody().front().getTerminator());
  for (const Shared &value : values) {
    arguments.addTemp(builder, value.name, /*output=*/true);
    Value buffer = first.getBody().addArgument(value.buffer, value.written.getLoc());
    StoreOp::create(builder, value.written.getLoc(), value.written, buffer, chunkOf(first));
  }
  arguments.give(first, first->hasAttr("roles"));
}

static void loadShared(KernelOp second, MutableArrayRef<Shared> values) {
  Arguments arguments;
  arguments.addAll(second);
  OpBuilder builder(second);
  builder.setInsertionPointAfter(chunkOf(second).getDefiningOp());
  for (Shared &value : values) {
    arguments.addTemp(builder, value.name, /*output=*/false);
    Value buffer = second.getBody().addArgument(value.buffer, value.read.getLoc());
    value.read.replaceAllUsesWith(LoadOp::create(builder, value.read.getLoc(), value.read.getType(), buffer, chunkOf(second), APFloat(0.0)));
  }
  arguments.give(second, second->hasAttr("roles"));
}

/// Part `i` becomes the second of two; false if it stays whole.
bool Division::divide(unsigned i) {
  KernelOp kernel = parts[i];
  Halves halves(kernel);
  if (halves.instructions() <= longest || !halves.find() || halves.storedBytes() > bytesOfBuffers(kernel))
    return false;
  kernel->setAttr("operands", TypeAttr::get(operandType(kernel))); // the arguments that told may lie in one of them
  OpBuilder builder(kernel);
  IRMapping copies;
  auto first = cast<KernelOp>(builder.clone(*kernel, copies));
  SmallVector<Shared> values;
  for (Value value : halves.stored())
    values.push_back({name + "_parts." + std::to_string(numShared++), copies.lookup(value), value,
                      bufferFor(value, halves.storedType(value), kernel.getBlocks())});
  SmallVector<Operation *> stores;
  for (StoreOp store : kernel.getBody().getOps<StoreOp>())
    stores.push_back(halves.isFirst(store) ? store.getOperation() : copies.lookup(store.getOperation()));
  storeShared(first, values);
  loadShared(kernel, values);
  for (Operation *store : stores)
    store->erase();
  for (KernelOp part : {first, kernel})
    dropUnused(part, &part.getBody().front());
  parts.insert(parts.begin() + i, first);
  return true;
}

void Division::run() {
  for (unsigned i = 0; i < parts.size();)
    if (!divide(i))
      ++i;
  for (unsigned i = 0; i + 1 < parts.size(); ++i)
    parts[i].setSymName(name + "_part" + std::to_string(i));
}

/// Whether a kernel reads what it writes: its halves would not find what was there before.
static bool worksInPlace(KernelOp kernel) {
  return llvm::any_of(kernel.getBody().getArguments(), [](BlockArgument buffer) {
    return llvm::any_of(buffer.getUsers(), [](Operation *op) { return isa<LoadOp>(op); }) &&
           llvm::any_of(buffer.getUsers(), [](Operation *op) { return !isa<LoadOp>(op); });
  });
}

/// Whether the kernel is one block of operations that loads, computes and stores for one chunk.
static bool isDivisible(KernelOp kernel) {
  auto fits = [](Operation &op) { return !op.getNumRegions() && (isMemoryEffectFree(&op) || isa<LoadOp, StoreOp>(op)); };
  return kernel.getOverChunks() && !kernel.getBody().getOps<ChunkIdOp>().empty() && llvm::all_of(kernel.getBody().front(), fits) &&
         !worksInPlace(kernel);
}

namespace {
struct FissionChunks : fla::impl::FissionChunksBase<FissionChunks> {
  using FissionChunksBase::FissionChunksBase;

  void runOnOperation() override {
    for (auto kernel : llvm::to_vector(getOperation().getOps<KernelOp>()))
      if (isDivisible(kernel)) {
        bool isCrowded = Halves(kernel).numbersHeld() > held;
        Division(kernel, isCrowded ? longestCrowded : longest).run();
      }
  }
};
} // namespace
