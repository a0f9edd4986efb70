//===- Passes.h - passes on the tile dialect -------------------*- C++ -*-===//
// For examples see test/Dialect/Tile/Transforms.
#ifndef FLA_DIALECT_TILE_TRANSFORMS_PASSES_H
#define FLA_DIALECT_TILE_TRANSFORMS_PASSES_H

#include "mlir/Pass/Pass.h"

namespace fla {
#define GEN_PASS_DECL
#include "fla/Dialect/Tile/Transforms/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "fla/Dialect/Tile/Transforms/Passes.h.inc"
} // namespace fla

#endif
