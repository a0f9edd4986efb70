//===- Algebra.h - builds values by dimension name --------------*- C++ -*-===//
#ifndef FLA_DIALECT_FLA_IR_ALGEBRA_H
#define FLA_DIALECT_FLA_IR_ALGEBRA_H

#include "fla/Dialect/FLA/IR/FLA.h"
#include "mlir/IR/Builders.h"

namespace fla {

/// Emits arithmetic on values with named dimensions; operands broadcast by name.
/// A null value stands for zero where a sum is formed.
class Algebra {
public:
  Algebra(mlir::OpBuilder &builder, mlir::Location loc) : builder(builder), loc(loc) {}

  mlir::Value constant(double value);
  /// A constant repeated over the dimensions of `type`.
  mlir::Value splat(double value, mlir::Type type);
  mlir::Value broadcast(mlir::Value value, mlir::Type type);
  mlir::Value add(mlir::Value a, mlir::Value b);
  mlir::Value sub(mlir::Value a, mlir::Value b);
  mlir::Value mul(mlir::Value a, mlir::Value b);
  mlir::Value neg(mlir::Value a);
  mlir::Value exp(mlir::Value a);
  mlir::Value dot(mlir::Value a, mlir::Value b);
  /// Product summed over everything that `dims` does not name.
  mlir::Value contract(mlir::Value a, mlir::Value b, llvm::ArrayRef<mlir::StringAttr> dims);
  /// Sum over everything that `type` does not name.
  mlir::Value sumTo(mlir::Value value, mlir::Type type);
  mlir::OpBuilder &getBuilder() { return builder; }
  mlir::Location getLoc() { return loc; }

private:
  /// Brings both operands to the union of their dimensions.
  void unify(mlir::Value &a, mlir::Value &b);
  mlir::OpBuilder &builder;
  mlir::Location loc;
};

/// The constant that a value repeats everywhere, if it is one.
std::optional<double> getSplat(mlir::Value value);
inline bool isZero(mlir::Value value) { return getSplat(value) == 0.0; }

} // namespace fla

#endif
