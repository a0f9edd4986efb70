//===- Sizes.h - the sizes that kernels are built for -----------*- C++ -*-===//
#ifndef FLA_LIB_CONVERSION_CHUNKTOTILE_SIZES_H
#define FLA_LIB_CONVERSION_CHUNKTOTILE_SIZES_H

#include "TileAlgebra.h"
#include "fla/Dialect/Chunk/IR/Chunk.h"

namespace fla {

/// Adds the sizes of a program's dimensions: what is given, else the positions
/// of an axis that is only indexed, else 128 for K and V and 64 for others.
mlir::LogicalResult chooseSizes(chunk::ProgramOp program, const llvm::StringMap<int64_t> &given, llvm::StringMap<int64_t> &sizes);

/// Tokens a chunk, where nothing is asked for. `alone`: a forward that saves no
/// states and comes without its reverse.
int64_t chooseChunk(chunk::ProgramOp program, const TileSizes &sizes, bool alone);

/// Cuts the columns of the program with the states into the largest number of
/// equal blocks that is at most what was asked for; 1 if they belong together.
void chooseBlocks(llvm::ArrayRef<chunk::ProgramOp> programs, int64_t wanted, TileSizes &sizes);

} // namespace fla

#endif
