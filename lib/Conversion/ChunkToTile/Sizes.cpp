//===- Sizes.cpp - the sizes that kernels are built for -------------------===//
#include "Sizes.h"
#include "fla/Dialect/Chunk/IR/Pairs.h"

using namespace mlir;
using namespace fla;

/// 64 tokens, on a CPU 32 for a forward `alone`, which reads no saved states and is
/// faster so. Vector gates take less, since each dyadic level of a chunk is work and, on
/// a GPU, code of its own: 16 where a solve meets them or, with a GPU's reverse, one
/// operation, 32 where on a GPU two operations do. So do scans on a GPU, each code for
/// whole columns of tokens, more than four operations over pairs, and a GPU's reverse
/// of tokens with several rows. Times: docs/Rationale/cubins.md.
/// Fewer when a token has several rows that read the state, or when values of a token
/// are large (an elementwise matrix state).
static int64_t chunkByClass(chunk::ProgramOp program, bool alone, bool onGPU) {
  int64_t rows = 1;
  bool solves = false, scans = false;
  // Both directions must choose the same chunk, since saved states belong to chunks.
  chunk::Pairs pairs = chunk::countPairs(program);
  program.walk([&](Operation *op) {
    scans |= isa<chunk::ScanOp>(op);
    if (auto solve = dyn_cast<chunk::SolveOp>(op)) {
      solves = true;
      rows = std::max<int64_t>(rows, solve.getRows().size());
    }
  });
  int64_t most = alone && !onGPU ? 32 : 64;
  if (pairs.gated && (solves || (onGPU && !alone && pairs.gated == 1)))
    most = 16;
  else if (onGPU && (pairs.gated > 1 || pairs.all > 4 || scans || (rows > 1 && !alone)))
    most = 32;
  return std::max<int64_t>(most / llvm::PowerOf2Ceil(rows), 1);
}

/// Elements that a value has a token, axes counted as powers of two.
static int64_t elementsPerToken(Value value, const TileSizes &sizes) {
  int64_t elements = 1;
  for (int64_t size : sizes.shape(getDims(value).drop_front()))
    elements *= llvm::PowerOf2Ceil(size);
  return elements;
}
static bool isPerToken(Value value) { return !getDims(value).empty() && getDims(value)[0].getValue() == kTokens; }

/// So that a second-level cache holds half a megabyte of each value.
static int64_t chunkByCache(chunk::ProgramOp program, const TileSizes &sizes, int64_t chunk) {
  constexpr int64_t kLargestTile = 1 << 17; // elements
  program.walk([&](Operation *op) {
    for (Value result : op->getResults()) {
      if (getDims(result).size() < 3 || !isPerToken(result))
        continue;
      int64_t perToken = 1;
      for (int64_t size : sizes.shape(getDims(result).drop_front()))
        perToken *= size;
      while (chunk > 1 && chunk * perToken > kLargestTile)
        chunk /= 2;
    }
  });
  return chunk;
}

/// So that the operands of a product, rows as wide as the states, take half of what a
/// block's threads share, and registers hold several values of an elementwise matrix
/// state. Both directions of a program carry the same states, so they choose alike.
static int64_t chunkByStates(chunk::ProgramOp program, const TileSizes &sizes, const Budget &budget, int64_t chunk) {
  int64_t widest = 1, scanned = 1;
  for (Value carry : program.getCarries())
    for (int64_t size : sizes.shape(getDims(carry)))
      widest = std::max<int64_t>(widest, llvm::PowerOf2Ceil(size));
  program.walk([&](chunk::ScanOp scan) {
    if (getDims(scan.getInitial()).size() > 1)
      scanned = std::max(scanned, elementsPerToken(scan.getNext(), sizes));
  });
  while (chunk > 16 && chunk * widest * budget.operandBytes > budget.shared / 4)
    chunk /= 2;
  // Rows so wide fill a thread's registers 16 at a time (based, 512: 1.13 times as fast as 32
  // with the backward, whose gradients then leave the loop over chunks).
  if (widest > 256)
    chunk = std::min<int64_t>(chunk, 16);
  while (chunk > 1 && chunk * scanned > budget.largestState() / 2)
    chunk /= 2;
  return chunk;
}

int64_t fla::chooseChunk(chunk::ProgramOp program, const TileSizes &sizes, const Budget &budget, bool alone) {
  int64_t chunk = chunkByClass(program, alone, budget.isGPU());
  return budget.isGPU() ? chunkByStates(program, sizes, budget, chunk) : chunkByCache(program, sizes, chunk);
}

int64_t fla::chooseFreeChunk(chunk::ProgramOp program, const TileSizes &sizes, const Budget &budget, const llvm::StringMap<int64_t> &shares) {
  int64_t most = 1;
  for (BlockArgument arg : program.getTokens()) {
    auto it = shares.find(program.getArgName(arg.getArgNumber()));
    int64_t blocks = it == shares.end() ? 1 : llvm::PowerOf2Ceil(it->second);
    most = std::max(most, elementsPerToken(arg, sizes) * blocks);
  }
  program.walk([&](Operation *op) {
    for (Value result : op->getResults())
      if (isPerToken(result))
        most = std::max(most, elementsPerToken(result, sizes));
  });
  // On a CPU a fraction of the second-level cache holds each value.
  constexpr int64_t kFreeTile = 1 << 14; // elements
  int64_t chunk = 64, largest = budget.isGPU() ? budget.largestState() : kFreeTile;
  while (chunk > 1 && chunk * most > largest)
    chunk /= 2;
  return chunk;
}

/// The dimension that a program is cut along, empty for none. Forward programs tell
/// what reverse ones, which sum over columns, are cut along.
static std::string splitDimOf(chunk::ProgramOp program, ArrayRef<chunk::ProgramOp> programs, int64_t wanted) {
  if (auto marked = program->getAttrOfType<StringAttr>(chunk::kSplitAttr))
    return marked.str();
  std::string dim;
  for (chunk::ProgramOp other : programs)
    if (StringRef columns = chunk::columnDim(other); wanted > 1 && !other.getReverse() && chunk::isSplittable(other, columns))
      dim = columns.str();
  return dim;
}

TileSizes fla::cutIntoBlocks(chunk::ProgramOp program, ArrayRef<chunk::ProgramOp> programs, int64_t wanted, const Budget &budget, TileSizes sizes) {
  std::string dim = splitDimOf(program, programs, wanted);
  if (dim.empty() || !program.getNumCarries())
    return sizes;
  int64_t size = sizes.fullSize(StringAttr::get(program->getContext(), dim)), needed = 1;
  bool equal = !budget.isGPU() || !program->hasAttr(chunk::kSplitAttr) || program->hasAttr(chunk::kSharesAttr);
  if (budget.isGPU())
    needed = chunk::blocksNeeded(program, dim, sizes.dims, budget.largestState(), equal).count;
  sizes.splitDim = dim;
  for (sizes.blocks = std::min(std::max(wanted, needed), size); !chunk::isDivision(size, sizes.blocks, equal); --sizes.blocks) {
  }
  return sizes;
}
