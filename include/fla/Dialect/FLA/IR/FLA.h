//===- FLA.h - the fla dialect ----------------------------------*- C++ -*-===//
#ifndef FLA_DIALECT_FLA_IR_FLA_H
#define FLA_DIALECT_FLA_IR_FLA_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/IR/TensorEncoding.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "fla/Dialect/FLA/IR/FLADialect.h.inc"
#include "fla/Dialect/FLA/IR/FLAEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "fla/Dialect/FLA/IR/FLAAttributes.h.inc"

namespace fla {
class YieldOp;

/// Reserved dimensions: the tokens of a chunk as readers and as writers.
inline constexpr llvm::StringLiteral kTokens = "tokens";
inline constexpr llvm::StringLiteral kPast = "past";

/// Names of a value's axes; none for a scalar or a tensor without encoding.
llvm::ArrayRef<mlir::StringAttr> getDims(mlir::Type type);
inline llvm::ArrayRef<mlir::StringAttr> getDims(mlir::Value value) { return getDims(value.getType()); }
/// Position of a dimension of `type`, or -1.
int64_t findDim(mlir::Type type, llvm::StringRef name);
inline bool hasDim(mlir::Type type, llvm::StringRef name) { return findDim(type, name) >= 0; }
/// `f64`, or a tensor of f64 with these axes.
mlir::Type getValueType(mlir::MLIRContext *context, llvm::ArrayRef<mlir::StringAttr> dims);
/// A type as a user reads it: `[K, V]`, or `scalar`.
std::string dimsToString(mlir::Type type);
/// True for operations of arith and math that act on each element alone.
bool isElementwise(mlir::Operation *op);
} // namespace fla

#define GET_OP_CLASSES
#include "fla/Dialect/FLA/IR/FLAOps.h.inc"

#endif
