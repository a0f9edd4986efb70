//===- Chunk.h - the chunk dialect ------------------------------*- C++ -*-===//
#ifndef FLA_DIALECT_CHUNK_IR_CHUNK_H
#define FLA_DIALECT_CHUNK_IR_CHUNK_H

#include "fla/Dialect/FLA/IR/FLA.h"

#include "fla/Dialect/Chunk/IR/ChunkDialect.h.inc"

namespace fla::chunk {
class YieldOp;
} // namespace fla::chunk

#define GET_OP_CLASSES
#include "fla/Dialect/Chunk/IR/ChunkOps.h.inc"

#endif
