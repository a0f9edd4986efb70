//===- Pairs.h - what a program does for each pair of tokens ----*- C++ -*-===//
//
// Scores, what they are applied to, and solves cost a chunk work that grows with the
// square of its tokens. How many there are decides how long chunks should be.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_DIALECT_CHUNK_IR_PAIRS_H
#define FLA_DIALECT_CHUNK_IR_PAIRS_H

#include "fla/Dialect/Chunk/IR/Chunk.h"

namespace fla::chunk {

/// Operations over pairs of tokens, and those of them whose gate differs between the
/// elements of a row (dyadic levels instead of a factor for each pair).
struct Pairs {
  int64_t all = 0, gated = 0;
};

/// Those of a program; of a reverse one those of its forward, as `kPairsAttr` says.
Pairs countPairs(ProgramOp program);

/// The attribute of a reverse program that holds its forward's `all` and `gated`: both
/// directions share the chunk, and a reverse has as many as its gradients need.
inline constexpr llvm::StringLiteral kPairsAttr = "pairs";

} // namespace fla::chunk

#endif
