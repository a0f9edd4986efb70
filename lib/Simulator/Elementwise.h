//===- Elementwise.h - operations on one scalar at a time -------*- C++ -*-===//
#ifndef FLA_LIB_SIMULATOR_ELEMENTWISE_H
#define FLA_LIB_SIMULATOR_ELEMENTWISE_H

#include "Numbers.h"
#include "ThreadBlock.h"

namespace fla::sim {

/// Calls f with the format of a floating-point type; 16-bit formats compute in
/// 32 bits and round once, as the hardware does.
template <class F> bool withFormat(mlir::Type type, F f) {
  switch (elementOf(type).kind) {
  case Element::F16:
    f(F16());
    return true;
  case Element::BF16:
    f(BF16());
    return true;
  case Element::F32:
    f(F32());
    return true;
  case Element::F64:
    f(F64());
    return true;
  case Element::Int:
    return false;
  }
  return false;
}

/// result = f(operands) for each element, as floating-point numbers.
template <class F> void mapFloats1(mlir::Operation &op, Compiler &c, F f) {
  Slots targets = c.define(op.getResult(0));
  bool known = withFormat(op.getResult(0).getType(), [&](auto format) {
    using X = decltype(format);
    for (auto [i, target] : llvm::enumerate(targets))
      c.map(target, c.slots(op.getOperand(0))[i], [f](uint64_t x) { return X::put(f(X::get(x))); });
  });
  if (!known)
    c.unsupported(op, "expected floating-point numbers");
}

template <class F> void mapFloats2(mlir::Operation &op, Compiler &c, F f) {
  Slots targets = c.define(op.getResult(0));
  bool known = withFormat(op.getResult(0).getType(), [&](auto format) {
    using X = decltype(format);
    for (auto [i, target] : llvm::enumerate(targets))
      c.map(target, c.slots(op.getOperand(0))[i], c.slots(op.getOperand(1))[i],
            [f](uint64_t x, uint64_t y) { return X::put(f(X::get(x), X::get(y))); });
  });
  if (!known)
    c.unsupported(op, "expected floating-point numbers");
}

template <class F> void mapFloats3(mlir::Operation &op, Compiler &c, F f) {
  Slots targets = c.define(op.getResult(0));
  bool known = withFormat(op.getResult(0).getType(), [&](auto format) {
    using X = decltype(format);
    for (auto [i, target] : llvm::enumerate(targets))
      c.map(target, c.slots(op.getOperand(0))[i], c.slots(op.getOperand(1))[i], c.slots(op.getOperand(2))[i],
            [f](uint64_t x, uint64_t y, uint64_t z) { return X::put(f(X::get(x), X::get(y), X::get(z))); });
  });
  if (!known)
    c.unsupported(op, "expected floating-point numbers");
}

/// result = f(a, b, bits) for each element, as integers of `bits` bits, zero-extended.
template <class F> void mapInts2(mlir::Operation &op, Compiler &c, F f) {
  Slots targets = c.define(op.getResult(0));
  unsigned bits = elementOf(op.getOperand(0).getType()).bits;
  uint64_t mask = lowBits(elementOf(op.getResult(0).getType()).bits);
  for (auto [i, target] : llvm::enumerate(targets))
    c.map(target, c.slots(op.getOperand(0))[i], c.slots(op.getOperand(1))[i], [=](uint64_t x, uint64_t y) { return uint64_t(f(x, y, bits)) & mask; });
}

template <class F> void mapInts1(mlir::Operation &op, Compiler &c, F f) {
  Slots targets = c.define(op.getResult(0));
  unsigned bits = elementOf(op.getOperand(0).getType()).bits;
  uint64_t mask = lowBits(elementOf(op.getResult(0).getType()).bits);
  for (auto [i, target] : llvm::enumerate(targets))
    c.map(target, c.slots(op.getOperand(0))[i], [=](uint64_t x) { return uint64_t(f(x, bits)) & mask; });
}

} // namespace fla::sim

#endif // FLA_LIB_SIMULATOR_ELEMENTWISE_H
