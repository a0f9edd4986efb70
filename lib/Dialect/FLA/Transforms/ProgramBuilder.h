//===- ProgramBuilder.h - the program that normalisation builds -*- C++ -*-===//
#ifndef FLA_LIB_DIALECT_FLA_TRANSFORMS_PROGRAMBUILDER_H
#define FLA_LIB_DIALECT_FLA_TRANSFORMS_PROGRAMBUILDER_H

#include "fla/Dialect/FLA/IR/Algebra.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SmallBitVector.h"

namespace fla {

/// Copies values of a recurrence into a program on demand, as states that they
/// depend on become available.
class ProgramBuilder {
public:
  explicit ProgramBuilder(RecurrenceOp recurrence);

  RecurrenceOp getRecurrence() { return recurrence; }
  ProgramOp getProgram() { return program; }
  Algebra algebra(mlir::Location loc) { return Algebra(builder, loc); }
  mlir::OpBuilder &getBuilder() { return builder; }

  /// States that a value depends on, by index.
  const llvm::SmallBitVector &dependencies(mlir::Value value) { return deps[value]; }
  bool dependsOn(mlir::Value value, mlir::BlockArgument state) { return deps[value].test(state.getArgNumber()); }
  /// True if every state that the value depends on has been advanced.
  bool isAvailable(mlir::Value value) { return !deps[value].test(available); }

  /// The program's copy of a value that `user` takes. A value that has none (a
  /// matrix state as a whole) gets a diagnostic and a placeholder; `finish` then fails.
  mlir::Value materialize(mlir::Value value, mlir::Operation *user = nullptr);
  void define(mlir::Value original, mlir::Value copy) { mapping.map(original, copy); }
  /// A matrix state: only its reads have copies.
  void setOpaque(mlir::BlockArgument state) { opaque.insert(state); }
  void setAvailable(mlir::BlockArgument state) { available.set(state.getArgNumber()); }

  /// Natural logarithm of a factor that cannot be negative; null if that is not evident.
  mlir::Value logarithm(mlir::Value factor);

  mlir::BlockArgument getState(mlir::BlockArgument original) { return program.getStep().getArgument(original.getArgNumber()); }
  /// Ends the program with the copies of the recurrence's results.
  mlir::LogicalResult finish(llvm::ArrayRef<mlir::Value> nextStates);

private:
  mlir::Value refuse(mlir::BlockArgument state, mlir::Operation *user);
  bool refused = false; ///< a value without a copy was asked for
  RecurrenceOp recurrence;
  ProgramOp program;
  mlir::OpBuilder builder;
  mlir::IRMapping mapping;
  llvm::DenseMap<mlir::Value, llvm::SmallBitVector> deps;
  llvm::DenseSet<mlir::Value> opaque;
  llvm::SmallBitVector available; ///< states that have been advanced
};

} // namespace fla

#endif
