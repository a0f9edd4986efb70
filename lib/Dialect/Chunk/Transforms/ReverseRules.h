//===- ReverseRules.h - reverse mode, one rule an operation -----*- C++ -*-===//
#ifndef FLA_LIB_DIALECT_CHUNK_TRANSFORMS_REVERSERULES_H
#define FLA_LIB_DIALECT_CHUNK_TRANSFORMS_REVERSERULES_H

#include "fla/Dialect/Chunk/IR/Chunk.h"
#include "fla/Dialect/FLA/IR/Algebra.h"

namespace fla {

/// Gradients of a straight line of operations, collected from the last to the
/// first. A value without gradient has none of the results below it.
class Gradients {
public:
  explicit Gradients(mlir::OpBuilder &builder) : builder(builder) {}

  /// Null where nothing has flowed back.
  mlir::Value get(mlir::Value value) const { return map.lookup(value); }
  /// As get, with zeros for none.
  mlir::Value getOrZero(mlir::Value value);
  /// Adds `gradient`, summed over the dimensions that `value` lacks.
  void add(mlir::Value value, mlir::Value gradient);
  /// Applies the rule of `op`; fails for an operation without one.
  mlir::LogicalResult propagate(mlir::Operation *op);

private:
  mlir::OpBuilder &builder;
  llvm::DenseMap<mlir::Value, mlir::Value> map;
};

/// Rules of elementwise operations: gradients of the operands given the result's.
mlir::LogicalResult reverseElementwise(mlir::Operation *op, mlir::Value d, Algebra &alg, Gradients &gradients);
/// Rules of the other operations of arith and fla that make one value.
mlir::LogicalResult reverseValue(mlir::Operation *op, mlir::Value d, Algebra &alg, Gradients &gradients);
/// Rules of the chunk operations.
mlir::LogicalResult reverseChunk(mlir::Operation *op, Algebra &alg, Gradients &gradients);

} // namespace fla

#endif
