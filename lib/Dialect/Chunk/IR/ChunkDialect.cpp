//===- ChunkDialect.cpp - the chunk dialect -------------------------------===//
#include "fla/Dialect/Chunk/IR/Chunk.h"

using namespace mlir;
using namespace fla::chunk;

#include "fla/Dialect/Chunk/IR/ChunkDialect.cpp.inc"

void ChunkDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "fla/Dialect/Chunk/IR/ChunkOps.cpp.inc"
      >();
}
