//===- ReverseElementwise.cpp - reverse mode of elementwise operations ----===//
#include "ReverseRules.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;
using namespace fla;

namespace {
/// Arithmetic with constants that take the shape of the other operand.
struct Rule {
  Operation *op;
  Value d, y; ///< the result's gradient, the result
  Algebra &alg;
  Gradients &gradients;

  Value x(unsigned i = 0) const { return op->getOperand(i); }
  Value number(double value) const { return alg.splat(value, y.getType()); }
  Value compare(arith::CmpFPredicate predicate, Value a, Value b) const {
    return arith::CmpFOp::create(alg.getBuilder(), alg.getLoc(), predicate, a, b);
  }
  Value select(Value condition, Value a, Value b) const { return arith::SelectOp::create(alg.getBuilder(), alg.getLoc(), condition, a, b); }
  Value div(Value a, Value b) const { return arith::DivFOp::create(alg.getBuilder(), alg.getLoc(), a, b); }
  template <typename Op> Value unary(Value a) const { return Op::create(alg.getBuilder(), alg.getLoc(), a); }
  void give(unsigned i, Value gradient) const { gradients.add(op->getOperand(i), gradient); }
  void give(Value gradient) const { give(0, gradient); }
  /// d goes to the first operand where the condition holds, else to the second.
  void route(Value condition) const {
    give(0, select(condition, d, number(0)));
    give(1, select(condition, number(0), d));
  }
};
} // namespace

LogicalResult fla::reverseElementwise(Operation *op, Value d, Algebra &alg, Gradients &gradients) {
  Rule r{op, d, op->getResult(0), alg, gradients};
  using namespace arith;
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<CmpFOp>([&](auto) { return success(); })
      .Case<AddFOp>([&](auto) { return r.give(0, d), r.give(1, d), success(); })
      .Case<SubFOp>([&](auto) { return r.give(0, d), r.give(1, alg.neg(d)), success(); })
      .Case<MulFOp>([&](auto) { return r.give(0, alg.mul(d, r.x(1))), r.give(1, alg.mul(d, r.x(0))), success(); })
      .Case<DivFOp>([&](auto) {
        Value q = r.div(d, r.x(1));
        return r.give(0, q), r.give(1, alg.neg(alg.mul(q, r.y))), success();
      })
      .Case<NegFOp>([&](auto) { return r.give(alg.neg(d)), success(); })
      .Case<MaximumFOp, MaxNumFOp>([&](auto) { return r.route(r.compare(CmpFPredicate::OGE, r.x(0), r.x(1))), success(); })
      .Case<MinimumFOp, MinNumFOp>([&](auto) { return r.route(r.compare(CmpFPredicate::OLE, r.x(0), r.x(1))), success(); })
      .Case<SelectOp>([&](SelectOp s) {
        r.give(1, r.select(s.getCondition(), d, r.number(0)));
        r.give(2, r.select(s.getCondition(), r.number(0), d));
        return success();
      })
      .Case<math::ExpOp>([&](auto) { return r.give(alg.mul(d, r.y)), success(); })
      .Case<math::Exp2Op>([&](auto) { return r.give(alg.mul(alg.mul(d, r.y), r.number(M_LN2))), success(); })
      .Case<math::LogOp>([&](auto) { return r.give(r.div(d, r.x())), success(); })
      .Case<math::Log2Op>([&](auto) { return r.give(r.div(d, alg.mul(r.x(), r.number(M_LN2)))), success(); })
      .Case<math::Log1pOp>([&](auto) { return r.give(r.div(d, alg.add(r.x(), r.number(1)))), success(); })
      .Case<math::ExpM1Op>([&](auto) { return r.give(alg.mul(d, alg.add(r.y, r.number(1)))), success(); })
      .Case<math::SqrtOp>([&](auto) { return r.give(r.div(alg.mul(d, r.number(0.5)), r.y)), success(); })
      .Case<math::RsqrtOp>([&](auto) {
        return r.give(alg.mul(alg.mul(d, r.number(-0.5)), alg.mul(r.y, alg.mul(r.y, r.y)))), success();
      })
      .Case<math::TanhOp>([&](auto) { return r.give(alg.mul(d, alg.sub(r.number(1), alg.mul(r.y, r.y)))), success(); })
      .Case<math::SinOp>([&](auto) { return r.give(alg.mul(d, r.unary<math::CosOp>(r.x()))), success(); })
      .Case<math::CosOp>([&](auto) { return r.give(alg.neg(alg.mul(d, r.unary<math::SinOp>(r.x())))), success(); })
      .Case<math::AbsFOp>([&](auto) {
        Value positive = r.compare(CmpFPredicate::OGE, r.x(), r.number(0));
        return r.give(r.select(positive, d, alg.neg(d))), success();
      })
      .Case<math::ErfOp>([&](auto) {
        Value bell = alg.exp(alg.neg(alg.mul(r.x(), r.x())));
        return r.give(alg.mul(d, alg.mul(bell, r.number(M_2_SQRTPI)))), success();
      })
      .Case<math::PowFOp>([&](auto) {
        Value slope = alg.mul(r.x(1), math::PowFOp::create(alg.getBuilder(), alg.getLoc(), r.x(0), alg.sub(r.x(1), r.number(1))));
        r.give(0, alg.mul(d, slope));
        r.give(1, alg.mul(d, alg.mul(r.y, r.unary<math::LogOp>(r.x(0)))));
        return success();
      })
      .Case<SigmoidOp>([&](auto) { return r.give(alg.mul(d, alg.mul(r.y, alg.sub(r.number(1), r.y)))), success(); })
      .Case<SoftplusOp>([&](auto) { return r.give(alg.mul(d, r.unary<SigmoidOp>(r.x()))), success(); })
      .Case<LogAddExpOp>([&](auto) {
        r.give(0, alg.mul(d, r.unary<SigmoidOp>(alg.sub(r.x(0), r.x(1)))));
        r.give(1, alg.mul(d, r.unary<SigmoidOp>(alg.sub(r.x(1), r.x(0)))));
        return success();
      })
      .Default([](Operation *op) { return op->emitOpError("has no derivative"); });
}
