//===- Sizes.h - the sizes that kernels are built for -----------*- C++ -*-===//
#ifndef FLA_LIB_CONVERSION_CHUNKTOTILE_SIZES_H
#define FLA_LIB_CONVERSION_CHUNKTOTILE_SIZES_H

#include "TileAlgebra.h"
#include "fla/Dialect/Chunk/IR/SplitDim.h"

namespace fla {

/// What tiles of one program may take of a target.
struct Budget {
  int64_t shared = 0;       ///< bytes that the threads of a block share; 0: a CPU
  int64_t operandBytes = 4; ///< of an element as products take it

  bool isGPU() const { return shared > 0; }
  int64_t largestState() const { return chunk::largestState(shared); }
};

/// Tokens a chunk of programs with states, where nothing is asked for. `alone`: a
/// forward that saves no states and comes without its reverse.
int64_t chooseChunk(chunk::ProgramOp program, const TileSizes &sizes, const Budget &budget, bool alone);

/// Tokens that a kernel without states, which is free to choose, takes at once.
/// `shares`: blocks whose shares it adds, by the name of an argument.
int64_t chooseFreeChunk(chunk::ProgramOp program, const TileSizes &sizes, const Budget &budget, const llvm::StringMap<int64_t> &shares);

/// The sizes of one program with states, its columns cut into the largest number of
/// equal blocks that is at most what was asked for; 1 if they belong together. On a
/// GPU a program that `fla-distribute` marked gets at least the blocks that it needs.
TileSizes cutIntoBlocks(chunk::ProgramOp program, llvm::ArrayRef<chunk::ProgramOp> programs, int64_t wanted, const Budget &budget, TileSizes sizes);

} // namespace fla

#endif
