//===- Algebra.cpp - builds values by dimension name ----------------------===//
#include "fla/Dialect/FLA/IR/Algebra.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace fla;

std::optional<double> fla::getSplat(Value value) {
  if (auto broadcast = value.getDefiningOp<BroadcastOp>())
    return getSplat(broadcast.getValue());
  FloatAttr number;
  if (matchPattern(value, m_Constant(&number)))
    return number.getValueAsDouble();
  return std::nullopt;
}

Value Algebra::constant(double value) { return arith::ConstantOp::create(builder, loc, builder.getF64FloatAttr(value)); }

Value Algebra::splat(double value, Type type) { return broadcast(constant(value), type); }

Value Algebra::broadcast(Value value, Type type) {
  return value.getType() == type ? value : BroadcastOp::create(builder, loc, type, value).getResult();
}

static bool contains(Type whole, Type part) {
  return llvm::all_of(getDims(part), [&](StringAttr dim) { return hasDim(whole, dim.getValue()); });
}

void Algebra::unify(Value &a, Value &b) {
  if (a.getType() == b.getType())
    return;
  Type type = a.getType();
  if (contains(b.getType(), a.getType()))
    type = b.getType();
  else if (!contains(a.getType(), b.getType())) {
    SmallVector<StringAttr> dims(getDims(a));
    for (StringAttr dim : getDims(b))
      if (!hasDim(a.getType(), dim.getValue()))
        dims.push_back(dim);
    type = getValueType(builder.getContext(), dims);
  }
  a = broadcast(a, type);
  b = broadcast(b, type);
}

Value Algebra::add(Value a, Value b) {
  if (!a || !b)
    return a ? a : b;
  unify(a, b);
  return arith::AddFOp::create(builder, loc, a, b);
}

Value Algebra::sub(Value a, Value b) {
  if (!a)
    return neg(b);
  if (!b)
    return a;
  unify(a, b);
  return arith::SubFOp::create(builder, loc, a, b);
}

Value Algebra::mul(Value a, Value b) {
  if (!a || !b)
    return {};
  if (getSplat(a) == 1.0 && contains(b.getType(), a.getType()))
    return b;
  if (getSplat(b) == 1.0 && contains(a.getType(), b.getType()))
    return a;
  if (a.getType() == b.getType())
    return arith::MulFOp::create(builder, loc, a, b);
  if (contains(a.getType(), b.getType()))
    return ScaleOp::create(builder, loc, a, b);
  if (contains(b.getType(), a.getType()))
    return ScaleOp::create(builder, loc, b, a);
  unify(a, b);
  return arith::MulFOp::create(builder, loc, a, b);
}

Value Algebra::neg(Value a) { return a ? arith::NegFOp::create(builder, loc, a).getResult() : a; }
Value Algebra::exp(Value a) { return math::ExpOp::create(builder, loc, a); }
Value Algebra::dot(Value a, Value b) { return DotOp::create(builder, loc, builder.getF64Type(), a, b); }

Value Algebra::contract(Value a, Value b, ArrayRef<StringAttr> dims) {
  return ContractOp::create(builder, loc, getValueType(builder.getContext(), dims), a, b);
}

Value Algebra::sumTo(Value value, Type type) {
  return value.getType() == type ? value : SumOp::create(builder, loc, type, value).getResult();
}
