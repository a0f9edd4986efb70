//===- Dispatch.h - the parts of the dispatcher -----------------*- C++ -*-===//
//
// Each part evaluates the operations of some dialects and says whether the
// operation was one of its own.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_INTERPRETER_DISPATCH_H
#define FLA_LIB_INTERPRETER_DISPATCH_H

#include "fla/Interpreter/Evaluate.h"

namespace fla::interp {

/// True: evaluated; false: not an operation of this part.
using Handled = llvm::Expected<bool>;

template <class S> Handled evaluateArith(mlir::Operation *op, Environment<S> &env);
template <class S> Handled evaluateFLA(mlir::Operation *op, Environment<S> &env);
template <class S> Handled evaluateShapes(mlir::Operation *op, Environment<S> &env);
template <class S> Handled evaluateChunk(mlir::Operation *op, Environment<S> &env);
template <class S> Handled evaluateTile(mlir::Operation *op, Environment<S> &env);
template <class S> Handled evaluateControl(mlir::Operation *op, Environment<S> &env);

#define FLA_INSTANTIATE_PART(part)                                                                 \
  template fla::interp::Handled fla::interp::part(mlir::Operation *, fla::interp::Environment<double> &); \
  template fla::interp::Handled fla::interp::part(mlir::Operation *, fla::interp::Environment<fla::interp::Var> &);

/// Binds the only result of an operation.
template <class S> Handled bind(mlir::Operation *op, Environment<S> &env, Tensor<S> result) {
  if (llvm::Error error = env.set(op->getResult(0), std::move(result)))
    return std::move(error);
  return true;
}

/// Binds the results of an operation, in order.
template <class S> Handled bindAll(mlir::Operation *op, Environment<S> &env, llvm::MutableArrayRef<Tensor<S>> results) {
  for (auto [value, tensor] : llvm::zip(op->getResults(), results))
    if (llvm::Error error = env.set(value, std::move(tensor)))
      return std::move(error);
  return true;
}

} // namespace fla::interp

#endif
