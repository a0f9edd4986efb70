//===- Math.cpp - elementary functions on vectors -------------------------===//
//
// Polynomials for exp, exp2, log, log1p, expm1, tanh, sin and cos of f32 and for
// exp, exp2, log1p, expm1 and tanh of f64; the rest is left to LLVM's intrinsics
// and libm. Each keeps
// the special values: exp(-inf) is exactly 0, NaN stays NaN, nothing else
// becomes NaN. Results below the smallest normal number are 0. Coefficients of
// the f32 functions: Moshier, Cephes (expf, logf).
//
//===----------------------------------------------------------------------===//
#include "Emitter.h"
#include "llvm/ADT/TypeSwitch.h"

#include <cmath>
#include <limits>

namespace fla::codegen {
namespace {

using FCmp = arith::CmpFPredicate;
using ICmp = arith::CmpIPredicate;
constexpr double kInf = std::numeric_limits<double>::infinity();

/// The operations that the formulas below are written in, on one vector type.
struct Formula {
  Emitter &e;
  Type type;
  Value c(double value) { return e.real(type, value); }
  Value horner(Value x, ArrayRef<double> coefficients) {
    Value sum = c(coefficients.front());
    for (double next : coefficients.drop_front())
      sum = e.fma(sum, x, c(next));
    return sum;
  }
  Value where(FCmp p, Value x, double y, Value then, Value otherwise) { return e.select(e.cmp(p, x, c(y)), then, otherwise); }
  Value round(Value x) { return LLVM::RoundEvenOp::create(e.b, e.loc, type, x); }
  Value abs(Value x) { return LLVM::FAbsOp::create(e.b, e.loc, type, x); }
  Value ifNaN(Value x, Value otherwise) { return e.select(e.cmp(FCmp::UNO, x, x), x, otherwise); }
  bool isDouble() { return getElementTypeOrSelf(type).isF64(); }
  Type intType() { return Emitter::vec(isDouble() ? e.b.getI64Type() : e.b.getI32Type(), Emitter::width(type)); }
  Value bits(Value x) { return LLVM::BitcastOp::create(e.b, e.loc, intType(), x); }
  Value fromBits(Value x) { return LLVM::BitcastOp::create(e.b, e.loc, type, x); }
  Value shl(Value x, int64_t n) { return arith::ShLIOp::create(e.b, e.loc, x, e.ints(x.getType(), n)); }
  Value sra(Value x, int64_t n) { return arith::ShRSIOp::create(e.b, e.loc, x, e.ints(x.getType(), n)); }

  /// e^r for |r| <= ln(2)/2.
  Value expReduced(Value r) {
    if (isDouble()) {
      SmallVector<double> taylor;
      for (int n = 13; n >= 0; --n)
        taylor.push_back(1.0 / std::tgamma(n + 1.0));
      return horner(r, taylor);
    }
    Value p = horner(r, {1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1});
    return e.addf(e.fma(p, e.mulf(r, r), r), c(1.0));
  }
  /// y * 2^n by adding n to y's exponent; the product must be a normal number.
  Value scale(Value y, Value n) {
    Value k = arith::FPToSIOp::create(e.b, e.loc, intType(), n);
    return fromBits(arith::AddIOp::create(e.b, e.loc, bits(y), shl(k, isDouble() ? 52 : 23)));
  }
  Value clamp(Value x, double low, double high) { return where(FCmp::OGT, x, high, c(high), where(FCmp::OLT, x, low, c(low), x)); }
  Value finishExp(Value x, Value y, double low, double high) {
    y = where(FCmp::OLT, x, low, c(0.0), where(FCmp::OGT, x, high, c(kInf), y));
    return ifNaN(x, y);
  }
  Value exp(Value x) {
    double low = isDouble() ? -708.396 : -87.3365, high = isDouble() ? 709.7827 : 88.7228;
    Value inside = clamp(x, low, high), n = round(e.mulf(inside, c(1.4426950408889634)));
    double ln2High = isDouble() ? 6.93145751953125e-1 : 0.693359375;
    double ln2Low = isDouble() ? 1.42860682030941723212e-6 : -2.12194440e-4;
    Value r = e.fma(n, c(-ln2High), inside);
    r = e.fma(n, c(-ln2Low), r);
    return finishExp(x, scale(expReduced(r), n), low, high);
  }
  Value exp2(Value x) {
    double low = isDouble() ? -1022 : -126, high = isDouble() ? 1023.9999999999 : 127.99999;
    Value inside = clamp(x, low, high), n = round(inside);
    Value r = e.mulf(e.subf(inside, n), c(0.6931471805599453));
    return finishExp(x, scale(expReduced(r), n), low, high);
  }

  /// log(1 + f) + n log(2) for 1 + f in [sqrt(1/2), sqrt(2)], of f32.
  Value logReduced(Value f, Value n) {
    Value z = e.mulf(f, f);
    Value y = e.mulf(horner(f, {7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
                                -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1}),
                     e.mulf(f, z));
    y = e.fma(z, c(-0.5), e.fma(n, c(-2.12194440e-4), y));
    return e.fma(n, c(0.693359375), e.addf(f, y));
  }
  Value log(Value x) {
    if (isDouble())
      return LLVM::LogOp::create(e.b, e.loc, type, x);
    // Subnormals are scaled up first; the mantissa then lies in [sqrt(1/2), sqrt(2)).
    Value tiny = e.cmp(FCmp::OLT, x, c(1.17549435e-38));
    Value scaled = e.select(tiny, e.mulf(x, c(8388608.0)), x);
    Value i = bits(scaled), k = sra(arith::SubIOp::create(e.b, e.loc, i, e.ints(i.getType(), 0x3f3504f3)), 23);
    Value f = e.subf(fromBits(arith::SubIOp::create(e.b, e.loc, i, shl(k, 23))), c(1.0));
    Value n = arith::SIToFPOp::create(e.b, e.loc, type, k);
    n = e.select(tiny, e.subf(n, c(23.0)), n);
    Value y = logReduced(f, n);
    y = where(FCmp::OEQ, x, 0.0, c(-kInf), where(FCmp::OEQ, x, kInf, x, y));
    return ifNaN(x, where(FCmp::OLT, x, 0.0, c(NAN), y));
  }
  /// log(u) x / (u - 1) with u = 1 + x: the rounding of u cancels (Kahan).
  Value log1p(Value x) {
    Value u = e.addf(x, c(1.0)), d = e.subf(u, c(1.0));
    Value y = e.mulf(log(u), e.divf(x, d));
    return where(FCmp::OEQ, d, 0.0, x, where(FCmp::OEQ, u, kInf, u, y));
  }
  /// log1p of what lies in [0, 1] (or is NaN): nothing to scale, nothing special.
  Value log1pOfUnit(Value x) {
    if (isDouble())
      return log1p(x);
    Value high = e.cmp(FCmp::OGT, x, c(0.41421356)); // beyond sqrt(2) in 1 + x: half of it
    Value f = e.select(high, e.mulf(e.subf(x, c(1.0)), c(0.5)), x);
    return logReduced(f, e.select(high, c(1.0), c(0.0)));
  }
  /// (u - 1) x / log(u) with u = e^x.
  Value expm1(Value x) {
    Value u = exp(x), d = e.subf(u, c(1.0));
    Value y = e.mulf(d, e.divf(x, log(u)));
    y = where(FCmp::OEQ, u, 1.0, x, where(FCmp::OEQ, u, kInf, u, y));
    return where(FCmp::OEQ, d, -1.0, d, y);
  }
  Value tanh(Value x) {
    Value t = expm1(e.mulf(abs(x), c(-2.0)));
    Value y = e.divf(arith::NegFOp::create(e.b, e.loc, t), e.addf(t, c(2.0)));
    return LLVM::CopySignOp::create(e.b, e.loc, type, y, x);
  }
};

/// sin or cos of f32 in f64, where the reduction by pi/2 is exact enough for
/// |x| up to 1e9; larger arguments yield some number in [-1, 1].
Value emitSinCos(Emitter &e, Value x, bool cosine) {
  Formula f{e, Emitter::vec(e.b.getF64Type(), Emitter::width(x.getType()))};
  Value wide = e.convert(x, e.b.getF64Type());
  Value n = f.round(e.mulf(wide, f.c(0.6366197723675814)));
  Value r = e.fma(n, f.c(-1.5707963267948966), wide);
  r = e.fma(n, f.c(-6.123233995736766e-17), r);
  // Comparisons, not minimum, so that NaN stays.
  r = f.clamp(r, -0.8, 0.8);
  Value z = e.mulf(r, r);
  Value s = f.horner(z, {1.0 / 6227020800, -1.0 / 39916800, 1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6, 1.0});
  s = e.mulf(s, r);
  Value c = f.horner(z, {-1.0 / 87178291200, 1.0 / 479001600, -1.0 / 3628800, 1.0 / 40320, -1.0 / 720, 1.0 / 24, -0.5, 1.0});
  Value shifted = cosine ? e.addf(n, f.c(1.0)) : n;
  Value turns = LLVM::FFloorOp::create(e.b, e.loc, f.type, e.mulf(shifted, f.c(0.25)));
  Value quadrant = e.fma(turns, f.c(-4.0), shifted);
  Value odd = arith::OrIOp::create(e.b, e.loc, e.cmp(FCmp::OEQ, quadrant, f.c(1.0)), e.cmp(FCmp::OEQ, quadrant, f.c(3.0)));
  Value y = e.select(odd, c, s);
  y = f.where(FCmp::OGE, quadrant, 2.0, arith::NegFOp::create(e.b, e.loc, y), y);
  return e.convert(y, getElementTypeOrSelf(x.getType()));
}

/// A formula for `op`, or null when LLVM or libm shall do it.
Value emitFormula(Emitter &e, Operation *op, ValueRange x) {
  if (op->getDialect()->getNamespace() != "math" || op->getNumResults() != 1)
    return {};
  Type element = getElementTypeOrSelf(x.front().getType());
  if (!element.isF32() && !element.isF64())
    return {};
  Formula f{e, x.front().getType()};
  if (isa<math::ExpOp>(op))
    return f.exp(x[0]);
  if (isa<math::Exp2Op>(op))
    return f.exp2(x[0]);
  if (isa<math::RsqrtOp>(op))
    return e.divf(f.c(1.0), LLVM::SqrtOp::create(e.b, e.loc, f.type, x[0]));
  if (isa<math::Log1pOp>(op))
    return f.log1p(x[0]);
  if (isa<math::ExpM1Op>(op))
    return f.expm1(x[0]);
  if (isa<math::TanhOp>(op))
    return f.tanh(x[0]);
  if (element.isF64())
    return {};
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case([&](math::LogOp) { return f.log(x[0]); })
      .Case([&](math::SinOp) { return emitSinCos(e, x[0], false); })
      .Case([&](math::CosOp) { return emitSinCos(e, x[0], true); })
      .Default(Value());
}

} // namespace

Value emitExp(Emitter &e, Value x) { return Formula{e, x.getType()}.exp(x); }

Value emitLogAddExp(Emitter &e, Value x, Value y, llvm::function_ref<Value(Value)> exp) {
  Formula f{e, x.getType()};
  // m + log(e^(x-m) + e^(y-m)); with m = -inf both are -inf, with +inf the sum is.
  Value m = e.maxf(x, y), infinite = e.cmp(FCmp::OEQ, f.abs(m), f.c(kInf));
  Value low = LLVM::MinimumOp::create(e.b, e.loc, f.type, x, y);
  Value below = e.subf(low, m), t = exp ? exp(below) : f.exp(below);
  return e.select(infinite, m, e.addf(m, f.log1pOfUnit(t)));
}

/// True for operations that LLVM takes on vectors (some as a call for each lane).
static bool hasVectorForm(Operation *op) {
  return isa<math::AbsFOp, math::AbsIOp, math::CeilOp, math::CopySignOp, math::CosOp, math::ExpOp, math::Exp2Op, math::FloorOp, math::FmaOp,
             math::LogOp, math::Log10Op, math::Log2Op, math::PowFOp, math::RoundOp, math::RoundEvenOp, math::SinOp, math::SqrtOp,
             math::TruncOp>(op);
}

/// Functions that only libm has: one call for each lane.
static Value emitByLane(Emitter &e, Operation *op, ValueRange operands, VectorType type) {
  Value result = LLVM::PoisonOp::create(e.b, e.loc, type);
  for (int64_t lane = 0; lane < type.getDimSize(0); ++lane) {
    SmallVector<Value> scalars = llvm::map_to_vector(operands, [&](Value x) { return e.extract(x, lane); });
    Value one = emitElementwise(e, op, scalars, 1);
    result = LLVM::InsertElementOp::create(e.b, e.loc, result, one, e.index(lane));
  }
  return result;
}

Value emitElementwise(Emitter &e, Operation *op, ValueRange operands, int64_t width) {
  if (Value value = emitFormula(e, op, operands))
    return value;
  // Index arithmetic is done in i64.
  auto type = [&](Type t) -> Type {
    Type element = getElementTypeOrSelf(t);
    return Emitter::vec(element.isIndex() ? e.i64() : element, width);
  };
  Type result = type(op->getResult(0).getType());
  if (isa<arith::IndexCastOp, arith::IndexCastUIOp>(op)) {
    unsigned from = getElementTypeOrSelf(operands[0].getType()).getIntOrFloatBitWidth();
    unsigned to = getElementTypeOrSelf(result).getIntOrFloatBitWidth();
    if (from == to)
      return operands[0];
    if (from > to)
      return arith::TruncIOp::create(e.b, e.loc, result, operands[0]);
    if (isa<arith::IndexCastUIOp>(op))
      return arith::ExtUIOp::create(e.b, e.loc, result, operands[0]);
    return arith::ExtSIOp::create(e.b, e.loc, result, operands[0]);
  }
  if (width > 1 && op->getDialect()->getNamespace() == "math" && !hasVectorForm(op))
    return emitByLane(e, op, operands, cast<VectorType>(result));
  OperationState state(e.loc, op->getName());
  state.addOperands(operands);
  state.addTypes(result);
  state.propertiesAttr = op->getPropertiesAsAttribute();
  return e.b.create(state)->getResult(0);
}

} // namespace fla::codegen
