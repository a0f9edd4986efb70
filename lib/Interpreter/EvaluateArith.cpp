//===- EvaluateArith.cpp - elementwise operations of arith and math -------===//
//
// Numbers are reals here: conversions between float types change nothing.
// Truth values are 0 and 1, indices are whole numbers.
//
//===----------------------------------------------------------------------===//
#include "Dispatch.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>
#include <optional>

using namespace mlir;
using namespace fla;
using namespace fla::interp;

static std::optional<Unary> unaryOf(Operation *op) {
  return llvm::StringSwitch<std::optional<Unary>>(op->getName().getStringRef())
      .Case("arith.negf", Unary::Neg)
      .Case("math.absf", Unary::Abs)
      .Case("math.cos", Unary::Cos)
      .Case("math.erf", Unary::Erf)
      .Case("math.exp", Unary::Exp)
      .Case("math.exp2", Unary::Exp2)
      .Case("math.expm1", Unary::Expm1)
      .Case("math.log", Unary::Log)
      .Case("math.log1p", Unary::Log1p)
      .Case("math.log2", Unary::Log2)
      .Case("math.rsqrt", Unary::Rsqrt)
      .Case("math.sin", Unary::Sin)
      .Case("math.sqrt", Unary::Sqrt)
      .Case("math.tanh", Unary::Tanh)
      .Default(std::nullopt);
}

static std::optional<Binary> binaryOf(Operation *op) {
  return llvm::StringSwitch<std::optional<Binary>>(op->getName().getStringRef())
      .Cases({"arith.addf", "arith.addi"}, Binary::Add)
      .Cases({"arith.subf", "arith.subi"}, Binary::Sub)
      .Cases({"arith.mulf", "arith.muli", "arith.andi"}, Binary::Mul)
      .Case("arith.divf", Binary::Div)
      .Cases({"arith.maximumf", "arith.maxsi", "arith.maxui", "arith.ori"}, Binary::Max)
      .Cases({"arith.minimumf", "arith.minsi", "arith.minui"}, Binary::Min)
      .Case("arith.maxnumf", Binary::MaxNum)
      .Case("arith.minnumf", Binary::MinNum)
      .Case("math.powf", Binary::Pow)
      .Default(std::nullopt);
}

// Conversions between types that hold the same real number.
static bool isConversion(Operation *op) {
  return isa<arith::ExtFOp, arith::TruncFOp, arith::IndexCastOp, arith::ExtUIOp, arith::SIToFPOp, arith::UIToFPOp>(op);
}

static bool compare(arith::CmpFPredicate predicate, double a, double b) {
  using P = arith::CmpFPredicate;
  bool unordered = std::isnan(a) || std::isnan(b);
  switch (predicate) {
  case P::AlwaysFalse: return false;
  case P::OEQ: return !unordered && a == b;
  case P::OGT: return !unordered && a > b;
  case P::OGE: return !unordered && a >= b;
  case P::OLT: return !unordered && a < b;
  case P::OLE: return !unordered && a <= b;
  case P::ONE: return !unordered && a != b;
  case P::ORD: return !unordered;
  case P::UEQ: return unordered || a == b;
  case P::UGT: return unordered || a > b;
  case P::UGE: return unordered || a >= b;
  case P::ULT: return unordered || a < b;
  case P::ULE: return unordered || a <= b;
  case P::UNE: return unordered || a != b;
  case P::UNO: return unordered;
  case P::AlwaysTrue: return true;
  }
  return false;
}

static bool compare(arith::CmpIPredicate predicate, double a, double b) {
  using P = arith::CmpIPredicate;
  switch (predicate) {
  case P::eq: return a == b;
  case P::ne: return a != b;
  case P::slt:
  case P::ult: return a < b;
  case P::sle:
  case P::ule: return a <= b;
  case P::sgt:
  case P::ugt: return a > b;
  case P::sge:
  case P::uge: return a >= b;
  }
  return false;
}

static std::optional<double> numberOf(Attribute attr) {
  if (auto number = dyn_cast<FloatAttr>(attr))
    return number.getValueAsDouble();
  if (auto number = dyn_cast<IntegerAttr>(attr))
    return number.getType().isInteger(1) ? double(number.getValue().getBoolValue()) : double(number.getInt());
  return std::nullopt;
}

template <class S> static Handled constant(arith::ConstantOp op, Environment<S> &env) {
  llvm::Expected<Shape> shape = env.shape(op.getResult());
  if (!shape)
    return shape.takeError();
  if (std::optional<double> number = numberOf(op.getValue()))
    return bind(op, env, Tensor<S>(*shape, S(*number)));
  auto elements = dyn_cast<DenseElementsAttr>(op.getValue());
  if (!elements)
    return llvm::createStringError("expected a number or a dense constant");
  Tensor<S> result(*shape);
  for (auto [i, attr] : llvm::enumerate(elements.getValues<Attribute>()))
    if (std::optional<double> number = numberOf(attr))
      result[i] = S(*number);
  return bind(op, env, result);
}

template <class S> static Tensor<S> select(const Tensor<S> &condition, const Tensor<S> &yes, const Tensor<S> &no) {
  Tensor<S> result = no;
  bool uniform = condition.size() == 1;
  for (int64_t i = 0; i < result.size(); ++i)
    if (valueOf(condition[uniform ? 0 : i]) != 0.0)
      result[i] = yes[i];
  return result;
}

template <class S, class Op> static Tensor<S> comparison(Op op, Environment<S> &env) {
  auto predicate = op.getPredicate();
  return zip(env[op.getLhs()], env[op.getRhs()],
             [&](S a, S b) { return S(compare(predicate, valueOf(a), valueOf(b)) ? 1.0 : 0.0); });
}

// Index division, rounding towards zero; the divisor is checked first.
template <class S> static Handled divide(Operation *op, Environment<S> &env, bool remainder) {
  double a = valueOf(env[op->getOperand(0)][0]), b = valueOf(env[op->getOperand(1)][0]);
  if (b == 0.0)
    return llvm::createStringError("division by zero");
  double quotient = std::trunc(a / b);
  return bind(op, env, Tensor<S>::scalar(S(remainder ? a - quotient * b : quotient)));
}

template <class S> Handled fla::interp::evaluateArith(Operation *op, Environment<S> &env) {
  if (auto f = unaryOf(op))
    return bind(op, env, apply(*f, env[op->getOperand(0)]));
  if (auto f = binaryOf(op))
    return bind(op, env, apply(*f, env[op->getOperand(0)], env[op->getOperand(1)]));
  if (isConversion(op))
    return bind(op, env, env[op->getOperand(0)]);
  return llvm::TypeSwitch<Operation *, Handled>(op)
      .Case([&](arith::ConstantOp o) { return constant(o, env); })
      .Case([&](arith::CmpFOp o) { return bind(op, env, comparison(o, env)); })
      .Case([&](arith::CmpIOp o) { return bind(op, env, comparison(o, env)); })
      .Case([&](arith::SelectOp o) {
        return bind(op, env, select(env[o.getCondition()], env[o.getTrueValue()], env[o.getFalseValue()]));
      })
      .Case([&](math::FmaOp o) { return bind(op, env, env[o.getA()] * env[o.getB()] + env[o.getC()]); })
      .template Case<arith::DivSIOp, arith::DivUIOp>([&](auto) { return divide(op, env, false); })
      .template Case<arith::RemSIOp, arith::RemUIOp>([&](auto) { return divide(op, env, true); })
      .Default([](Operation *) -> Handled { return false; });
}

FLA_INSTANTIATE_PART(evaluateArith)
