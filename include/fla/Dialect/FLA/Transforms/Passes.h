//===- Passes.h - passes on the fla dialect ---------------------*- C++ -*-===//
// For examples see test/Dialect/FLA/Transforms.
#ifndef FLA_DIALECT_FLA_TRANSFORMS_PASSES_H
#define FLA_DIALECT_FLA_TRANSFORMS_PASSES_H

#include "fla/Dialect/FLA/IR/FLA.h"
#include "mlir/Pass/Pass.h"

namespace fla {
#define GEN_PASS_DECL
#include "fla/Dialect/FLA/Transforms/Passes.h.inc"

/// Rewrites one recurrence into a canonical program placed before it.
mlir::FailureOr<ProgramOp> normalizeRecurrence(RecurrenceOp recurrence);

#define GEN_PASS_REGISTRATION
#include "fla/Dialect/FLA/Transforms/Passes.h.inc"
} // namespace fla

#endif
