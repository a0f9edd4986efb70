//===- SplitDim.h - may a dimension be cut into blocks? ---------*- C++ -*-===//
#ifndef FLA_DIALECT_CHUNK_IR_SPLITDIM_H
#define FLA_DIALECT_CHUNK_IR_SPLITDIM_H

#include "fla/Dialect/Chunk/IR/Chunk.h"

namespace fla::chunk {

/// Whether an operation needs all of a dimension: it sums over it, or its
/// result mixes positions along it.
bool needsWhole(mlir::Operation *op, llvm::StringRef dim);

/// The dimension along which a forward program's columns lie: the last one of
/// its first matrix state; empty if there is none.
llvm::StringRef columnDim(ProgramOp program);

/// Whether blocks of `dim` can run apart: every state and output has it, and no
/// operation needs all of it.
bool isSplittable(ProgramOp program, llvm::StringRef dim);

} // namespace fla::chunk

#endif
