//===- Emitter.cpp - loops over raw memory in vectors ---------------------===//
#include "Emitter.h"

namespace fla::codegen {

int64_t Emitter::bytes(Type element) {
  return isa<LLVM::LLVMPointerType>(element) ? 8 : (storage(element).getIntOrFloatBitWidth() + 7) / 8;
}
Type Emitter::storage(Type element) { return element.isInteger(1) ? IntegerType::get(element.getContext(), 8) : element; }
int64_t Emitter::lanes(Type element) const {
  // Truth values travel with floats of four bytes.
  return vectorBytes / std::max<int64_t>(element.isInteger(1) ? 4 : bytes(element), 4);
}

//===----------------------------------------------------------------------===//
// Constants and arithmetic
//===----------------------------------------------------------------------===//

Value Emitter::index(int64_t value) { return arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(value)); }

static TypedAttr splatAttr(Type type, Attribute scalar) {
  if (auto vector = dyn_cast<VectorType>(type))
    return DenseElementsAttr::get(vector, scalar);
  return cast<TypedAttr>(scalar);
}
Value Emitter::real(Type type, double value) {
  return arith::ConstantOp::create(b, loc, splatAttr(type, b.getFloatAttr(getElementTypeOrSelf(type), value)));
}
Value Emitter::ints(Type type, int64_t value) {
  return arith::ConstantOp::create(b, loc, splatAttr(type, b.getIntegerAttr(getElementTypeOrSelf(type), value)));
}
Value Emitter::iota(int64_t width) {
  if (width == 1)
    return index(0);
  SmallVector<int64_t> values = llvm::to_vector(llvm::seq<int64_t>(0, width));
  return arith::ConstantOp::create(b, loc, DenseIntElementsAttr::get(cast<VectorType>(vec(i64(), width)), ArrayRef(values)));
}

Value Emitter::fma(Value x, Value y, Value z) { return LLVM::FMulAddOp::create(b, loc, x.getType(), x, y, z); }

Value Emitter::convert(Value x, Type element) {
  Type from = getElementTypeOrSelf(x.getType()), to = vec(element, width(x.getType()));
  if (from == element)
    return x;
  // Between f64 and 16 bits, and between bf16 and f16, by way of f32.
  auto narrow = [](Type type) { return type.getIntOrFloatBitWidth() == 16; };
  if ((narrow(from) && !element.isF32()) || (narrow(element) && !from.isF32()))
    return convert(convert(x, b.getF32Type()), element);
  if (from.isBF16())
    return extendBF16(x);
  if (element.isBF16())
    return truncateToBF16(x);
  if (element.getIntOrFloatBitWidth() > from.getIntOrFloatBitWidth())
    return arith::ExtFOp::create(b, loc, to, x);
  return arith::TruncFOp::create(b, loc, to, x);
}

// bf16 is the upper half of f32. In integers, because LLVM calls a library
// function for it on processors without an instruction.
Value Emitter::extendBF16(Value x) {
  int64_t n = width(x.getType());
  Value bits = LLVM::BitcastOp::create(b, loc, vec(b.getI16Type(), n), x);
  Value wide = arith::ExtUIOp::create(b, loc, vec(b.getI32Type(), n), bits);
  Value high = arith::ShLIOp::create(b, loc, wide, ints(wide.getType(), 16));
  return LLVM::BitcastOp::create(b, loc, vec(b.getF32Type(), n), high);
}
Value Emitter::truncateToBF16(Value x) {
  int64_t n = width(x.getType());
  Type i32 = vec(b.getI32Type(), n);
  Value bits = LLVM::BitcastOp::create(b, loc, i32, x);
  Value high = arith::ShRUIOp::create(b, loc, bits, ints(i32, 16));
  // To nearest, ties to even; a NaN stays one.
  Value odd = arith::AndIOp::create(b, loc, high, ints(i32, 1));
  Value sum = arith::AddIOp::create(b, loc, bits, arith::AddIOp::create(b, loc, odd, ints(i32, 0x7fff)));
  Value rounded = arith::ShRUIOp::create(b, loc, sum, ints(i32, 16));
  Value quiet = arith::OrIOp::create(b, loc, high, ints(i32, 0x40));
  Value result = select(cmp(arith::CmpFPredicate::UNO, x, x), quiet, rounded);
  Value half = arith::TruncIOp::create(b, loc, vec(b.getI16Type(), n), result);
  return LLVM::BitcastOp::create(b, loc, vec(b.getBF16Type(), n), half);
}

Value Emitter::splat(Value scalar, int64_t width) {
  if (width == 1)
    return scalar;
  Type type = vec(scalar.getType(), width);
  Value undef = LLVM::PoisonOp::create(b, loc, type);
  Value one = LLVM::InsertElementOp::create(b, loc, undef, scalar, index(0));
  return shuffle(one, undef, SmallVector<int32_t>(width, 0));
}
Value Emitter::extract(Value vector, int64_t lane) {
  return width(vector.getType()) == 1 ? vector : LLVM::ExtractElementOp::create(b, loc, vector, index(lane)).getResult();
}
Value Emitter::shuffle(Value x, Value y, ArrayRef<int32_t> mask) { return LLVM::ShuffleVectorOp::create(b, loc, x, y, mask); }

Value Emitter::horizontal(Value vector, bool maximum) {
  auto type = dyn_cast<VectorType>(vector.getType());
  if (!type)
    return vector;
  if (maximum)
    return LLVM::vector_reduce_fmaximum::create(b, loc, type.getElementType(), vector);
  Value zero = real(type.getElementType(), 0.0);
  return LLVM::vector_reduce_fadd::create(b, loc, type.getElementType(), zero, vector, LLVM::FastmathFlags::reassoc);
}

Value Emitter::below(Value first, int64_t width, Value limit) {
  Value lanes = b.createOrFold<arith::AddIOp>(loc, splat(first, width), iota(width));
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, lanes, splat(limit, width));
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Value Emitter::at(Value base, Value offset, Type element) {
  return LLVM::GEPOp::create(b, loc, base.getType(), storage(element), base, ArrayRef<LLVM::GEPArg>{offset});
}

Value Emitter::load(Value address, Type element, int64_t width) {
  Type stored = vec(storage(element), width);
  Value value = LLVM::LoadOp::create(b, loc, stored, address, bytes(element));
  if (!element.isInteger(1))
    return value;
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, value, ints(stored, 0));
}

void Emitter::store(Value value, Value address) {
  Type element = getElementTypeOrSelf(value.getType());
  if (element.isInteger(1))
    value = arith::ExtUIOp::create(b, loc, vec(storage(element), width(value.getType())), value);
  LLVM::StoreOp::create(b, loc, value, address, bytes(element));
}

void Emitter::fill(Value base, int64_t count, Value scalar) {
  Type element = scalar.getType();
  columns(count, element, [&](Value i, int64_t width) { store(splat(scalar, width), at(base, i, element)); });
}

void Emitter::copy(Value to, Value from, int64_t count, Type element) {
  if (count > 0)
    LLVM::MemcpyOp::create(b, loc, to, from, index(count * bytes(element)), /*isVolatile=*/false);
}

Value Emitter::offset(ArrayRef<int64_t> shape, ArrayRef<Value> indices) {
  Value sum = index(0);
  for (auto [size, i] : llvm::zip_equal(shape, indices))
    sum = add(mul(sum, size), i);
  return sum;
}

//===----------------------------------------------------------------------===//
// Control
//===----------------------------------------------------------------------===//

SmallVector<Value> Emitter::loop(Value from, Value to, int64_t step, ValueRange init, LoopBody body) {
  auto op = scf::ForOp::create(b, loc, from, to, index(step), init, [&](OpBuilder &, Location, Value i, ValueRange carried) {
    OpBuilder::InsertionGuard guard(b);
    SmallVector<Value> next = body(i, carried);
    scf::YieldOp::create(b, loc, next);
  });
  return SmallVector<Value>(op.getResults());
}

SmallVector<Value> Emitter::loop(int64_t from, int64_t to, int64_t step, ValueRange init, LoopBody body) {
  if (from >= to)
    return SmallVector<Value>(init);
  if (from + step >= to)
    return body(index(from), init);
  return loop(index(from), index(to), step, init, body);
}

void Emitter::loop(int64_t from, int64_t to, int64_t step, llvm::function_ref<void(Value)> body) {
  loop(from, to, step, ValueRange(), [&](Value i, ValueRange) {
    body(i);
    return SmallVector<Value>();
  });
}
void Emitter::loop(Value from, Value to, llvm::function_ref<void(Value)> body) {
  loop(from, to, 1, ValueRange(), [&](Value i, ValueRange) {
    body(i);
    return SmallVector<Value>();
  });
}

void Emitter::columns(int64_t count, Type element, llvm::function_ref<void(Value, int64_t)> body, int64_t unroll) {
  int64_t width = lanes(element), done = 0;
  if (int64_t group = width * unroll; unroll > 1 && count >= 2 * group) {
    loop(0, count / group * group, group, [&](Value i) {
      for (int64_t u = 0; u < unroll; ++u)
        body(add(i, u * width), width);
    });
    done = count / group * group;
  }
  loop(done, count / width * width, width, [&](Value i) { body(i, width); });
  if (int64_t rest = count % width)
    body(index(count - rest), rest);
}

void Emitter::when(Value condition, llvm::function_ref<void()> then, llvm::function_ref<void()> otherwise) {
  auto part = [&](llvm::function_ref<void()> emit) {
    return [&, emit](OpBuilder &, Location) {
      OpBuilder::InsertionGuard guard(b);
      emit();
      scf::YieldOp::create(b, loc);
    };
  };
  if (otherwise)
    scf::IfOp::create(b, loc, condition, part(then), part(otherwise));
  else
    scf::IfOp::create(b, loc, condition, part(then));
}

} // namespace fla::codegen
