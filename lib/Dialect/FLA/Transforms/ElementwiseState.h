//===- ElementwiseState.h - states without reads ----------------*- C++ -*-===//
#ifndef FLA_LIB_DIALECT_FLA_TRANSFORMS_ELEMENTWISESTATE_H
#define FLA_LIB_DIALECT_FLA_TRANSFORMS_ELEMENTWISESTATE_H

#include "ProgramBuilder.h"

namespace fla {

/// Adds the `fla.scan` of a state whose update acts on each element alone and
/// returns the next state; null if the update is of another kind. A matrix
/// state is elementwise only if its decay or its input is a full matrix.
mlir::Value normalizeElementwiseState(ProgramBuilder &program, mlir::BlockArgument state, mlir::Value next);

} // namespace fla

#endif
