//===- Passes.h - passes on the chunk dialect -------------------*- C++ -*-===//
// For examples see test/Dialect/Chunk/Transforms.
#ifndef FLA_DIALECT_CHUNK_TRANSFORMS_PASSES_H
#define FLA_DIALECT_CHUNK_TRANSFORMS_PASSES_H

#include "mlir/Pass/Pass.h"

namespace fla {
#define GEN_PASS_DECL
#include "fla/Dialect/Chunk/Transforms/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "fla/Dialect/Chunk/Transforms/Passes.h.inc"
} // namespace fla

#endif
