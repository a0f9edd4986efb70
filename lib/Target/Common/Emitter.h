//===- Emitter.h - what the lowerings to machine code build with -*- C++ -*-===//
//
// A thin layer over OpBuilder: loops over raw memory in vectors. A vector of
// width one is the scalar itself, so odd sizes need no special code.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_TARGET_COMMON_EMITTER_H
#define FLA_LIB_TARGET_COMMON_EMITTER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

namespace fla::codegen {
using namespace mlir;

/// A contiguous array in memory. Truth values take one byte each.
struct Tile {
  Value base;
  SmallVector<int64_t> shape;
  Type element;
  int64_t size() const {
    int64_t n = 1;
    for (int64_t s : shape)
      n *= s;
    return n;
  }
};

class Emitter {
public:
  using LoopBody = llvm::function_ref<SmallVector<Value>(Value, ValueRange)>;

  Emitter(OpBuilder &builder, Location loc, int64_t vectorBytes) : b(builder), loc(loc), vectorBytes(vectorBytes) {}

  OpBuilder &b;
  Location loc;
  int64_t vectorBytes;

  // Types and constants.
  Type i64() { return b.getI64Type(); }
  Type ptr() { return LLVM::LLVMPointerType::get(b.getContext()); }
  int64_t lanes(Type element) const;
  static Type vec(Type element, int64_t width) { return width == 1 ? element : VectorType::get({width}, element); }
  static int64_t width(Type type) { return isa<VectorType>(type) ? cast<VectorType>(type).getDimSize(0) : 1; }
  static Type storage(Type element);
  static int64_t bytes(Type element);
  Value index(int64_t value);
  Value real(Type type, double value);
  Value ints(Type type, int64_t value);
  Value iota(int64_t width);

  // Arithmetic on i64 and on floats; constants fold.
  Value add(Value x, Value y) { return b.createOrFold<arith::AddIOp>(loc, x, y); }
  Value add(Value x, int64_t y) { return y ? add(x, index(y)) : x; }
  Value sub(Value x, Value y) { return b.createOrFold<arith::SubIOp>(loc, x, y); }
  Value mul(Value x, Value y) { return b.createOrFold<arith::MulIOp>(loc, x, y); }
  Value mul(Value x, int64_t y) { return y == 1 ? x : mul(x, index(y)); }
  Value min(Value x, Value y) { return b.createOrFold<arith::MinSIOp>(loc, x, y); }
  Value max(Value x, Value y) { return b.createOrFold<arith::MaxSIOp>(loc, x, y); }
  Value cmp(arith::CmpIPredicate p, Value x, Value y) { return b.createOrFold<arith::CmpIOp>(loc, p, x, y); }
  Value cmp(arith::CmpFPredicate p, Value x, Value y) { return arith::CmpFOp::create(b, loc, p, x, y); }
  Value select(Value c, Value x, Value y) { return b.createOrFold<arith::SelectOp>(loc, c, x, y); }
  Value addf(Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
  Value subf(Value x, Value y) { return arith::SubFOp::create(b, loc, x, y); }
  Value mulf(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
  Value divf(Value x, Value y) { return arith::DivFOp::create(b, loc, x, y); }
  Value maxf(Value x, Value y) { return arith::MaximumFOp::create(b, loc, x, y); }
  Value fma(Value x, Value y, Value z);
  Value convert(Value x, Type element);
  Value extendBF16(Value x);
  Value truncateToBF16(Value x);
  Value splat(Value scalar, int64_t width);
  Value extract(Value vector, int64_t lane);
  Value shuffle(Value x, Value y, ArrayRef<int32_t> mask);
  /// The sum (or maximum) of all lanes.
  Value horizontal(Value vector, bool maximum = false);
  /// Lanes `first + i < limit`.
  Value below(Value first, int64_t width, Value limit);

  // Memory. Addresses count elements.
  Value at(Value base, Value offset, Type element);
  Value at(Value base, int64_t offset, Type element) { return offset ? at(base, index(offset), element) : base; }
  Value load(Value address, Type element, int64_t width);
  void store(Value value, Value address);
  void fill(Value base, int64_t count, Value scalar);
  void copy(Value to, Value from, int64_t count, Type element);
  /// Row-major offset of `indices` in `shape`.
  Value offset(ArrayRef<int64_t> shape, ArrayRef<Value> indices);

  // Control.
  SmallVector<Value> loop(Value from, Value to, int64_t step, ValueRange init, LoopBody body);
  SmallVector<Value> loop(int64_t from, int64_t to, int64_t step, ValueRange init, LoopBody body);
  void loop(int64_t from, int64_t to, int64_t step, llvm::function_ref<void(Value)> body);
  void loop(Value from, Value to, llvm::function_ref<void(Value)> body);
  /// [0, count) in full vectors, then one narrower vector for the rest.
  void columns(int64_t count, Type element, llvm::function_ref<void(Value, int64_t)> body, int64_t unroll = 1);
  void when(Value condition, llvm::function_ref<void()> then, llvm::function_ref<void()> otherwise = nullptr);
};

/// Emits `op` (an elementwise operation of arith or math) on vectors or scalars.
Value emitElementwise(Emitter &e, Operation *op, ValueRange operands, int64_t width);
/// exp, log and the rest on f32 and f64 values.
Value emitExp(Emitter &e, Value x);
/// log(e^x + e^y) without overflow; -inf where both are -inf. `exp`: by default emitExp.
Value emitLogAddExp(Emitter &e, Value x, Value y, llvm::function_ref<Value(Value)> exp = nullptr);

} // namespace fla::codegen

#endif
