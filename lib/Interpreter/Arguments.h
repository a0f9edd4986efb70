//===- Arguments.h - what a program is given --------------------*- C++ -*-===//
#ifndef FLA_LIB_INTERPRETER_ARGUMENTS_H
#define FLA_LIB_INTERPRETER_ARGUMENTS_H

#include "fla/Interpreter/Programs.h"

namespace fla::interp {

/// A number among an argument's attributes.
inline std::optional<double> numberAttr(mlir::DictionaryAttr attrs, llvm::StringRef name) {
  if (auto number = attrs.getAs<mlir::FloatAttr>(name))
    return number.getValueAsDouble();
  return std::nullopt;
}

/// The value given for an argument, or `fallback` repeated over `shape`; an
/// error if there is neither, or if the value has another shape.
template <class S>
llvm::Expected<Tensor<S>> argument(llvm::StringRef name, const Named<S> &values, const Shape &shape, std::optional<double> fallback) {
  auto it = values.find(name.str());
  if (it == values.end()) {
    if (!fallback)
      return llvm::createStringError("expected a value for argument '" + name + "', got none");
    return Tensor<S>(shape, S(*fallback));
  }
  if (it->second.shape.sizes != shape.sizes)
    return llvm::createStringError("expected argument '" + name + "' to have the shape of its type");
  Tensor<S> value = it->second;
  value.shape = shape;
  return value;
}

} // namespace fla::interp

#endif
