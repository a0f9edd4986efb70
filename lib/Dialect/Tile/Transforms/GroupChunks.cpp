//===- GroupChunks.cpp - several chunks a grid point ----------------------===//
//
//   tile.kernel @f over_chunks { %c = tile.chunk_id ; work on chunk %c }
//   ==> tile.kernel @f over_chunks, span = 4 {
//         %first = tile.chunk_id
//         scf.for %c = %first to min(%first + 4, tile.num_chunks) { work on chunk %c }
//       }
//
// For examples see test/Dialect/Tile/Transforms/group-chunks.mlir.
//===----------------------------------------------------------------------===//
#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace fla::tile;

namespace fla {
#define GEN_PASS_DEF_GROUPCHUNKS
#include "fla/Dialect/Tile/Transforms/Passes.h.inc"
} // namespace fla

namespace {

/// Operations that differ from chunk to chunk: stores, and what depends on the chunk's number.
SmallVector<Operation *> perChunk(Block &body, Value chunk) {
  DenseSet<Operation *> depends;
  SmallVector<Operation *> found;
  for (Operation &op : body.without_terminator()) {
    bool reads = llvm::any_of(op.getOperands(), [&](Value value) { return value == chunk || depends.contains(value.getDefiningOp()); });
    if (!reads && !isa<StoreOp>(op))
      continue;
    depends.insert(&op);
    found.push_back(&op);
  }
  return found;
}

/// The most elements a thread of a block holds at once, each tile from where it is made to its last use; what
/// products alone read stays in memory.
int64_t elementsHeld(Block &body, int64_t threads) {
  DenseMap<Operation *, int64_t> ends;
  int64_t alive = 0, most = 0;
  for (Operation &op : body) {
    for (Value result : op.getResults()) {
      auto type = dyn_cast<RankedTensorType>(result.getType());
      bool read = isa<LoadOp>(op) && llvm::all_of(result.getUsers(), [](Operation *user) { return isa<DotOp>(user); });
      if (!type || type.getElementType().isInteger(1) || read || result.use_empty())
        continue;
      Operation *last = &op;
      for (Operation *user : result.getUsers())
        if (Operation *here = body.findAncestorOpInBlock(*user); last->isBeforeInBlock(here))
          last = here;
      int64_t own = std::max<int64_t>(1, type.getNumElements() / threads);
      alive += own;
      ends[last] += own;
    }
    most = std::max(most, alive);
    alive -= ends.lookup(&op);
  }
  return most;
}

/// Whether as many blocks share a unit's registers where each loops, which takes a thread some more of them.
bool fitsAsOften(Block &body, int64_t threads, int64_t registers) {
  constexpr int64_t kStraight = 32, kLoop = 64;
  int64_t held = elementsHeld(body, threads);
  auto blocks = [&](int64_t other) { return std::clamp<int64_t>(registers / (threads * (held + other)), 1, 2); };
  return blocks(kLoop) == blocks(kStraight);
}

void group(KernelOp kernel, int64_t span, int64_t threads, int64_t registers) {
  Block &body = kernel.getBody().front();
  auto ids = body.getOps<ChunkIdOp>();
  // Without products there is little to do for a chunk, and nothing to copy ahead.
  if (!kernel.getOverChunks() || kernel.getChunk() == 1 || kernel.getSpan() != 1 || ids.empty() || body.getOps<DotOp>().empty() ||
      !body.getOps<scf::ForOp>().empty() || !fitsAsOften(body, threads, registers))
    return;
  ChunkIdOp id = *ids.begin();
  for (ChunkIdOp other : llvm::make_early_inc_range(ids))
    if (other != id) {
      other.replaceAllUsesWith(id.getResult());
      other.erase();
    }
  SmallVector<Operation *> moved = perChunk(body, id);
  OpBuilder b(body.getTerminator());
  Location loc = kernel.getLoc();
  Value count = NumChunksOp::create(b, loc), one = arith::ConstantIndexOp::create(b, loc, 1);
  Value beyond = arith::AddIOp::create(b, loc, id, arith::ConstantIndexOp::create(b, loc, span));
  auto loop = scf::ForOp::create(b, loc, id, arith::MinSIOp::create(b, loc, beyond, count), one);
  for (Operation *op : moved)
    op->moveBefore(loop.getBody()->getTerminator());
  id.getResult().replaceUsesWithIf(loop.getInductionVar(), [&](OpOperand &use) { return loop->isProperAncestor(use.getOwner()); });
  kernel.setSpan(span);
}

struct GroupChunks : fla::impl::GroupChunksBase<GroupChunks> {
  using GroupChunksBase::GroupChunksBase;
  void runOnOperation() override {
    for (auto kernel : getOperation().getOps<KernelOp>())
      group(kernel, span, threads, registers);
  }
};
} // namespace
