//===- Evaluate.h - the meaning of one operation ----------------*- C++ -*-===//
//
// One dispatcher serves every phase: the operations of a token step, of a chunk
// (a leading `tokens` axis, pairs as `tokens x past`) and of a kernel (static
// shapes). Nothing here is fast; everything is meant to be read beside the
// operation's description.
//
// Invariant: every value in an environment has the shape of its type under the
// environment's sizes, so operations that verify cannot index out of bounds.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_INTERPRETER_EVALUATE_H
#define FLA_INTERPRETER_EVALUATE_H

#include "fla/Dialect/FLA/IR/FLA.h"
#include "fla/Interpreter/Tensor.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"
#include <functional>

namespace fla::interp {

using Sizes = llvm::StringMap<int64_t>;

/// "message" with the operation's name before it and its location after it.
llvm::Error errorAt(mlir::Operation *op, const llvm::Twine &message);

/// Sizes of a type's axes; an error names the dimension that has none.
llvm::Expected<Shape> shapeOf(mlir::Type type, const Sizes &sizes);

/// Values of a block under evaluation.
template <class S> class Environment {
public:
  explicit Environment(const Sizes &sizes) : sizes(sizes) {}

  const Tensor<S> &operator[](mlir::Value value) const { return values.find(value)->second; }
  bool contains(mlir::Value value) const { return values.contains(value); }
  /// Binds a value; an error if its type asks for another shape.
  llvm::Error set(mlir::Value value, Tensor<S> tensor);
  llvm::Expected<Shape> shape(mlir::Value value) const { return shapeOf(value.getType(), sizes); }

  /// Evaluates operations that touch what only the caller has (memory, a grid).
  using Hook = std::function<llvm::Error(mlir::Operation *, Environment &)>;
  Hook hook;
  /// Rows of the current chunk that lie inside the sequence.
  int64_t validRows = 0;
  const Sizes &sizes;

private:
  llvm::DenseMap<mlir::Value, Tensor<S>> values;
};

/// Evaluates one operation and binds its results.
template <class S> llvm::Error evaluate(mlir::Operation *op, Environment<S> &env);

/// Evaluates the operations of a block before its terminator.
template <class S> llvm::Error evaluateBlock(mlir::Block &block, Environment<S> &env);

extern template llvm::Error evaluate(mlir::Operation *, Environment<double> &);
extern template llvm::Error evaluate(mlir::Operation *, Environment<Var> &);
extern template llvm::Error evaluateBlock(mlir::Block &, Environment<double> &);
extern template llvm::Error evaluateBlock(mlir::Block &, Environment<Var> &);
extern template class Environment<double>;
extern template class Environment<Var>;

} // namespace fla::interp

#endif
