//===- Passes.h - ChunkToTile ----------------------------------*- C++ -*-===//
// For examples see test/Conversion/ChunkToTile.
#ifndef FLA_CONVERSION_CHUNKTOTILE_PASSES_H
#define FLA_CONVERSION_CHUNKTOTILE_PASSES_H

#include "mlir/Pass/Pass.h"

namespace fla {
#define GEN_PASS_DECL
#include "fla/Conversion/ChunkToTile/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "fla/Conversion/ChunkToTile/Passes.h.inc"
} // namespace fla

#endif
