//===- Passes.h - FLAToChunk ----------------------------------*- C++ -*-===//
// For examples see test/Conversion/FLAToChunk.
#ifndef FLA_CONVERSION_FLATOCHUNK_PASSES_H
#define FLA_CONVERSION_FLATOCHUNK_PASSES_H

#include "mlir/Pass/Pass.h"

namespace fla {
#define GEN_PASS_DECL
#include "fla/Conversion/FLAToChunk/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "fla/Conversion/FLAToChunk/Passes.h.inc"
} // namespace fla

#endif
