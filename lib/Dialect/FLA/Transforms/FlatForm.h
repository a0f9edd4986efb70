//===- FlatForm.h - an update relative to the incoming state ----*- C++ -*-===//
//
// Behind the event form: every version is d*S + sum x (v + S^T b)^T with S the
// incoming state (MATH: the flat form). Sums of versions add d and join rows;
// the price is that every row reads before the decay.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_DIALECT_FLA_TRANSFORMS_FLATFORM_H
#define FLA_LIB_DIALECT_FLA_TRANSFORMS_FLATFORM_H

#include "CanonicalEvents.h"
#include "ProgramBuilder.h"

namespace fla {

class FlatForm {
public:
  FlatForm(ProgramBuilder &program, mlir::BlockArgument state) : program(program), state(state), alg(program.algebra(state.getLoc())) {}

  std::optional<Bad> build(mlir::Value next);
  mlir::FailureOr<mlir::Value> emit(RecurrenceOp recurrence);

private:
  struct Row {
    mlir::Value x, b, v;
  };
  struct Matrix {
    mlir::Value decay; ///< null: 0
    llvm::SmallVector<Row> rows;
  };
  struct Vector {
    mlir::Value v, b; ///< v + S^T b, null: 0
  };
  std::optional<Matrix> matrix(mlir::Value value);
  std::optional<Matrix> matrixSum(mlir::Operation *op);
  std::optional<Matrix> matrixProduct(mlir::Operation *op);
  std::optional<Vector> vector(mlir::Value value);
  std::optional<Vector> read(ReadOp op);
  mlir::Value columnRead(const Matrix &m, mlir::Value query, mlir::Value answer);

  ProgramBuilder &program;
  mlir::BlockArgument state;
  Algebra alg;
  AffineSpec spec;
};

} // namespace fla

#endif
