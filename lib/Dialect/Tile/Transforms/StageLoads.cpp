//===- StageLoads.cpp - loads begin a chunk ahead -------------------------===//
//
//   scf.for %c { %k = tile.load %K[%c] ; ... %k ... }
//   ==> %room = tile.alloc : !tile.shared<2, 64x128xbf16>
//       tile.copy %K[0], %room[0]
//       scf.for %c {
//         tile.wait
//         tile.copy %K[%c + 1], %room[(%c + 1) % 2]
//         %k = tile.read %room[%c % 2] ; ... %k ...
//       }
//       tile.wait
//
// For examples see test/Dialect/Tile/Transforms/stage-loads.mlir.
//===----------------------------------------------------------------------===//
#include "fla/Dialect/Tile/IR/Tile.h"
#include "fla/Dialect/Tile/Transforms/Passes.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace fla::tile;

namespace fla {
#define GEN_PASS_DEF_STAGELOADS
#include "fla/Dialect/Tile/Transforms/Passes.h.inc"
} // namespace fla

namespace {

constexpr int64_t kStages = 2;

ArrayRef<int64_t> shapeOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? tensor.getShape() : ArrayRef<int64_t>();
}

/// What a stage of a load's tile takes, rows padded so that columns spread over banks.
int64_t bytesOf(LoadOp load) {
  int64_t size = load.getBuffer().getType().getElementType().getIntOrFloatBitWidth() / 8, rows = 1;
  ArrayRef<int64_t> shape = shapeOf(load.getType());
  for (int64_t axis : shape.drop_back(shape.empty() ? 0 : 1))
    rows *= axis;
  return rows * ((shape.empty() ? 1 : shape.back()) * size + 16);
}

class Stager {
public:
  Stager(KernelOp kernel, int64_t bytes, bool wide) : kernel(kernel), left(bytes), wide(wide), rewriter(kernel.getContext()) {}

  void run() {
    for (auto loop : llvm::make_early_inc_range(kernel.getBody().front().getOps<scf::ForOp>()))
      stageLoop(loop);
    if (kernel.getOverChunks())
      stageOnce();
  }

private:
  /// Rows or whole chunks of the caller's memory that neighbour there, of 16 bytes at least.
  bool isWorthCopying(LoadOp load) {
    ArrayRef<int64_t> shape = shapeOf(load.getType());
    BufferType buffer = load.getBuffer().getType();
    bool saved = buffer.getKind() == BufferKind::saved;
    bool written = kernel.getOutputs()[cast<BlockArgument>(load.getBuffer()).getArgNumber()];
    unsigned bits = buffer.getElementType().getIntOrFloatBitWidth();
    if ((!saved && buffer.getKind() != BufferKind::token) || written || bits > 32 || (bits == 32 && shape.size() > 1 && !wide))
      return false;
    // One number a chunk, too: a load of it into registers would be waited for at once.
    if (shape.empty())
      return saved && bits == 32;
    return (shape.size() == 2 || (shape.size() == 1 && saved)) && shape.back() * bits / 8 >= 16;
  }

  bool takeRoom(int64_t bytes) {
    if (bytes > left)
      return false;
    left -= bytes;
    return true;
  }

  Value number(int64_t value) { return arith::ConstantIndexOp::create(rewriter, loc, value); }
  Value alloc(LoadOp load, int64_t stages) {
    Type element = load.getBuffer().getType().getElementType();
    return AllocOp::create(rewriter, loc, SharedType::get(rewriter.getContext(), stages, shapeOf(load.getType()), element));
  }
  void copy(LoadOp load, Value chunk, Value room, Value stage) {
    CopyOp::create(rewriter, load.getLoc(), load.getBuffer(), chunk, room, stage, load.getAbsentAttr());
  }
  Value stageOf(Value chunk) { return arith::RemUIOp::create(rewriter, loc, chunk, number(kStages)); }

  /// The turn of the loop after this one, or the last.
  Value next(scf::ForOp loop) {
    Value after = arith::AddIOp::create(rewriter, loc, loop.getInductionVar(), number(1));
    return arith::MinSIOp::create(rewriter, loc, after, arith::SubIOp::create(rewriter, loc, loop.getUpperBound(), number(1)));
  }

  /// Whether a loop goes through the chunks, forwards or backwards: the turn is the chunk, or last - turn.
  static bool followsTurns(Value chunk, scf::ForOp loop) {
    auto reverse = chunk.getDefiningOp<arith::SubIOp>();
    return chunk == loop.getInductionVar() ||
           (reverse && reverse.getRhs() == loop.getInductionVar() && loop.isDefinedOutsideOfLoop(reverse.getLhs()));
  }
  /// The chunk of another turn; of an empty sequence, whose last chunk is none, the first, which is masked.
  Value chunkAt(LoadOp load, Value turn) {
    auto reverse = load.getChunk().getDefiningOp<arith::SubIOp>();
    if (!reverse)
      return turn;
    return arith::MaxSIOp::create(rewriter, loc, arith::SubIOp::create(rewriter, loc, reverse.getLhs(), turn), number(0));
  }

  void stageLoop(scf::ForOp loop) {
    SmallVector<LoadOp> tiles, rows;
    Value chunk; // of all that is loaded ahead
    if (!matchPattern(loop.getStep(), m_One()))
      return;
    for (LoadOp load : loop.getBody()->getOps<LoadOp>()) {
      if (!load.getChunk() || !followsTurns(load.getChunk(), loop) || (chunk && load.getChunk() != chunk))
        continue;
      chunk = load.getChunk();
      if (isWorthCopying(load) && takeRoom(kStages * bytesOf(load)))
        tiles.push_back(load);
      else if (shapeOf(load.getType()).size() < 2)
        rows.push_back(load);
    }
    loc = loop.getLoc();
    copyAhead(loop, tiles);
    loadAhead(loop, rows);
  }

  void copyAhead(scf::ForOp loop, ArrayRef<LoadOp> loads) {
    if (loads.empty())
      return;
    rewriter.setInsertionPoint(loop);
    SmallVector<Value> rooms;
    for (LoadOp load : loads)
      rooms.push_back(alloc(load, kStages));
    for (auto [load, room] : llvm::zip(loads, rooms)) {
      Value chunk = chunkAt(load, loop.getLowerBound());
      copy(load, chunk, room, stageOf(chunk));
    }
    rewriter.setInsertionPointToStart(loop.getBody());
    WaitOp::create(rewriter, loc);
    Value turn = loop.getInductionVar(), current = chunkAt(loads.front(), turn), following = next(loop);
    // The other stage, also where there is no chunk left.
    Value into = stageOf(arith::AddIOp::create(rewriter, loc, current, number(1))), from = stageOf(current);
    for (auto [load, room] : llvm::zip(loads, rooms))
      copy(load, chunkAt(load, following), room, into);
    for (auto [i, room] : llvm::enumerate(rooms)) {
      LoadOp load = loads[i];
      rewriter.setInsertionPoint(load);
      rewriter.replaceOpWithNewOp<ReadOp>(load, load.getType(), room, from);
    }
    // What is still under way may not meet what comes after.
    rewriter.setInsertionPointAfter(loop);
    WaitOp::create(rewriter, loc);
  }

  /// Numbers of a chunk's tokens: loaded into registers while the chunk before is worked on, as they are
  /// stored, since what converts them would wait for them.
  void loadAhead(scf::ForOp loop, ArrayRef<LoadOp> loads) {
    if (loads.empty())
      return;
    auto loadAt = [&](LoadOp load, Value turn) -> Value {
      Value chunk = chunkAt(load, turn);
      auto copy = cast<LoadOp>(rewriter.clone(*load));
      copy.getChunkMutable().assign(chunk);
      Type stored = load.getBuffer().getType().getElementType(), type = load.getType();
      if (stored.getIntOrFloatBitWidth() < getElementTypeOrSelf(type).getIntOrFloatBitWidth())
        copy.getResult().setType(isa<RankedTensorType>(type) ? Type(cast<RankedTensorType>(type).clone(stored)) : stored);
      return copy.getResult();
    };
    rewriter.setInsertionPoint(loop);
    SmallVector<Value> first, following;
    for (LoadOp load : loads)
      first.push_back(loadAt(load, loop.getLowerBound()));
    Operation *start = &loop.getBody()->front();
    for (Operation &op : *loop.getBody()) // after the copies, which take longer
      if (isa<CopyOp>(op))
        start = op.getNextNode();
    rewriter.setInsertionPoint(start);
    Value turn = next(loop);
    for (LoadOp load : loads)
      following.push_back(loadAt(load, turn));
    auto yields = [&](OpBuilder &, Location, ArrayRef<BlockArgument>) { return following; };
    auto replaced = cast<scf::ForOp>(*loop.replaceWithAdditionalYields(rewriter, first, /*replaceInitOperandUsesInLoop=*/false, yields));
    auto carried = replaced.getRegionIterArgs().take_back(loads.size());
    for (auto [i, now] : llvm::enumerate(carried)) {
      LoadOp load = loads[i];
      rewriter.setInsertionPoint(load);
      Value value = now;
      if (now.getType() != load.getType())
        value = arith::ExtFOp::create(rewriter, load.getLoc(), load.getType(), now);
      rewriter.replaceOp(load, value);
    }
  }

  /// A kernel over chunks copies what products alone read, all before the first of them.
  void stageOnce() {
    SmallVector<std::pair<LoadOp, Value>> staged;
    Block &body = kernel.getBody().front();
    Operation *first = nullptr;
    for (LoadOp load : body.getOps<LoadOp>()) {
      bool read = !load->use_empty() && llvm::all_of(load->getUses(), [](OpOperand &use) {
        auto dot = dyn_cast<DotOp>(use.getOwner());
        return dot && use.getOperandNumber() < 2 && (dot.getPairs() == Pairs::all || dot.restrictsResult());
      });
      if (!read || !isWorthCopying(load) || shapeOf(load.getType()).size() != 2 || !takeRoom(bytesOf(load)))
        continue;
      loc = load.getLoc();
      rewriter.setInsertionPoint(load);
      Value room = alloc(load, 1);
      copy(load, load.getChunk(), room, number(0));
      staged.push_back({load, room});
      for (Operation *user : load->getUsers()) {
        Operation *here = body.findAncestorOpInBlock(*user);
        first = !first || here->isBeforeInBlock(first) ? here : first;
      }
    }
    if (staged.empty())
      return;
    rewriter.setInsertionPoint(first);
    WaitOp::create(rewriter, loc);
    Value stage = number(0);
    for (auto [load, room] : staged)
      rewriter.replaceOp(load, ReadOp::create(rewriter, loc, load.getType(), room, stage));
  }

  KernelOp kernel;
  int64_t left;
  bool wide;
  IRRewriter rewriter;
  Location loc = rewriter.getUnknownLoc();
};

struct StageLoads : fla::impl::StageLoadsBase<StageLoads> {
  using StageLoadsBase::StageLoadsBase;
  void runOnOperation() override {
    for (auto kernel : getOperation().getOps<KernelOp>())
      if (kernel.getChunk() > 1)
        Stager(kernel, bytes, wide).run();
  }
};
} // namespace
