//===- SplitDim.h - may a dimension be cut into blocks? ---------*- C++ -*-===//
//
// Blocks of a grid share a program's work by cutting a dimension of its states:
// their columns (each block makes its columns of the outputs), or their rows (each
// block makes a share of what is read, and the shares are added after). For a read
// o = S^T q of S in K x V, blocks of V give slices of o, blocks of K shares of it.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_DIALECT_CHUNK_IR_SPLITDIM_H
#define FLA_DIALECT_CHUNK_IR_SPLITDIM_H

#include "fla/Dialect/Chunk/IR/Chunk.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/MathExtras.h"

namespace fla::chunk {

/// Whether an operation needs all of a dimension: it sums over it, its result
/// mixes positions along it, or makes them of other dimensions.
bool needsWhole(mlir::Operation *op, llvm::StringRef dim);

/// The dimension along which a forward program's columns lie: the last one of
/// its first matrix state; empty if there is none.
llvm::StringRef columnDim(ProgramOp program);

/// Whether blocks of `dim` can run apart: every output has it, no operation needs all
/// of it, and every state has it or, with `repeat`, all blocks hold it alike.
bool isSplittable(ProgramOp program, llvm::StringRef dim, bool repeat = false);

/// What a block of a dimension holds of a value: the same as every block, its
/// slice, or its share of a sum over the blocks.
enum class Holding { Whole, Slice, Share };

/// What a block gets of an operation's results from what it has of the operands;
/// nothing if it cannot do without the other blocks (what is not linear in shares).
std::optional<Holding> holdingOf(mlir::Operation *op, llvm::StringRef dim, llvm::function_ref<Holding(mlir::Value)> holding);

/// Adds the sizes of a program's dimensions: what is given, else the positions
/// of an axis that is only indexed, else 128 for K and V and 64 for others.
mlir::LogicalResult chooseSizes(ProgramOp program, const llvm::StringMap<int64_t> &given, llvm::StringMap<int64_t> &sizes);

/// Elements of a state that a GPU's block holds: in the registers of its threads, and
/// in operands that pass through the bytes that its threads share.
inline int64_t largestState(int64_t sharedBytes) { return std::min<int64_t>(1 << 14, llvm::bit_floor<uint64_t>(sharedBytes / 8)); }

/// Blocks of a dimension of a program's states, and whether all states then are small enough.
struct Blocks {
  int64_t count = 1;
  bool fit = false;
};

/// The fewest blocks of `dim` for which a block's tile of each state that has it holds
/// at most `largest` elements, its axes counted as powers of two, and eight tokens of a
/// matrix state that is scanned elementwise half of that. Blocks of less than 16
/// positions only for the latter. As many as can be where none of that is enough.
///
/// Blocks of columns may leave a shorter one at the end: what they hold beyond the
/// dimension they load as zero, and neither other columns nor gradients see it.
/// Shares of a sum over the dimension need `equal` blocks.
Blocks blocksNeeded(ProgramOp program, llvm::StringRef dim, const llvm::StringMap<int64_t> &sizes, int64_t largest, bool equal);

/// Whether that many blocks are equal, or at least none of them is empty.
inline bool isDivision(int64_t size, int64_t blocks, bool equal) {
  return equal ? size % blocks == 0 : (blocks - 1) * llvm::divideCeil(size, blocks) < static_cast<uint64_t>(size);
}

/// The attribute that names the dimension that a program, forward or reverse, is cut
/// along, and the one that says that blocks add shares over it.
inline constexpr llvm::StringLiteral kSplitAttr = "split", kSharesAttr = "split_shares";

} // namespace fla::chunk

#endif
