//===- ReverseRules.cpp - reverse mode, one rule an operation -------------===//
#include "ReverseRules.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fla;
using namespace fla::chunk;

Value Gradients::getOrZero(Value value) {
  if (Value gradient = get(value))
    return gradient;
  return Algebra(builder, value.getLoc()).splat(0.0, value.getType());
}

void Gradients::add(Value value, Value gradient) {
  if (!gradient || getSplat(value))
    return;
  Algebra alg(builder, value.getLoc());
  Value &sum = map[value];
  sum = alg.add(sum, alg.sumTo(gradient, value.getType()));
}

LogicalResult Gradients::propagate(Operation *op) {
  Algebra alg(builder, op->getLoc());
  if (llvm::none_of(op->getResults(), [&](Value result) { return get(result); }))
    return success();
  if (isa_and_nonnull<ChunkDialect>(op->getDialect()))
    return reverseChunk(op, alg, *this);
  Value d = get(op->getResult(0));
  return isElementwise(op) ? reverseElementwise(op, d, alg, *this) : reverseValue(op, d, alg, *this);
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

/// Every largest element takes an equal share.
static Value reverseMax(MaxOp op, Value d, Algebra &alg) {
  Type type = op.getValue().getType();
  Value one = alg.splat(1.0, type), zero = alg.splat(0.0, type);
  Value isLargest = arith::CmpFOp::create(alg.getBuilder(), op.getLoc(), arith::CmpFPredicate::OEQ, op.getValue(),
                                          alg.broadcast(op.getResult(), type));
  Value mask = arith::SelectOp::create(alg.getBuilder(), op.getLoc(), isLargest, one, zero);
  Value count = alg.broadcast(alg.sumTo(mask, op.getType()), type);
  Value share = arith::DivFOp::create(alg.getBuilder(), op.getLoc(), mask, count);
  return alg.mul(share, alg.broadcast(d, type));
}

static Value reverseSoftmax(SoftmaxOp op, Value d, Algebra &alg) {
  Value y = op.getResult(), weighted = alg.mul(d, y);
  Type rest = getValueType(op.getContext(), getDims(y).drop_back());
  return alg.sub(weighted, alg.mul(y, alg.broadcast(alg.sumTo(weighted, rest), y.getType())));
}

LogicalResult fla::reverseValue(Operation *op, Value d, Algebra &alg, Gradients &gradients) {
  OpBuilder &builder = alg.getBuilder();
  Location loc = alg.getLoc();
  auto give = [&](unsigned i, Value gradient) {
    gradients.add(op->getOperand(i), gradient);
    return success();
  };
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<arith::ConstantOp>([&](auto) { return success(); })
      .Case<fla::BroadcastOp>([&](auto) { return give(0, d); })
      .Case<SumOp>([&](auto) { return give(0, alg.broadcast(d, op->getOperand(0).getType())); })
      .Case<MaxOp>([&](MaxOp max) { return give(0, reverseMax(max, d, alg)); })
      .Case<SoftmaxOp>([&](SoftmaxOp softmax) { return give(0, reverseSoftmax(softmax, d, alg)); })
      .Case<ScaleOp>([&](ScaleOp scale) {
        (void)give(1, alg.contract(d, scale.getValue(), getDims(scale.getFactor())));
        return give(0, alg.mul(d, scale.getFactor()));
      })
      .Case<ContractOp>([&](ContractOp contract) {
        (void)give(0, alg.contract(d, contract.getB(), getDims(contract.getA())));
        return give(1, alg.contract(d, contract.getA(), getDims(contract.getB())));
      })
      .Case<ConcatOp>([&](ConcatOp concat) {
        auto split = SplitOp::create(builder, loc, TypeRange(concat.getParts()), d);
        for (auto [i, part] : llvm::enumerate(split.getParts()))
          (void)give(i, part);
        return success();
      })
      .Case<FlattenOp>([&](auto) { return give(0, UnflattenOp::create(builder, loc, op->getOperand(0).getType(), d)); })
      .Case<IndexOp>([&](IndexOp index) { return give(0, PlaceOp::create(builder, loc, index.getValue().getType(), d, index.getPositionAttr())); })
      .Case<RenameOp>([&](auto) { return give(0, RenameOp::create(builder, loc, op->getOperand(0).getType(), d)); })
      .Case<RotateOp>([&](RotateOp rotate) {
        (void)give(1, RotateGradOp::create(builder, loc, rotate.getAngle().getType(), d, rotate.getResult()));
        return give(0, RotateOp::create(builder, loc, d, alg.neg(rotate.getAngle())));
      })
      .Default([](Operation *op) { return op->emitOpError("has no derivative"); });
}

//===----------------------------------------------------------------------===//
// Chunks
//===----------------------------------------------------------------------===//

// The three products of a pair (t, s) are derivatives of one form,
//   F(P, b, x) = sum P[t,s] b[t,k] x[s,k] exp(decay(t,s)[k]):
// score = dF/dP, apply = dF/db, apply_transposed = dF/dx, gate_grad = dF/dg.

static Value score(Algebra &alg, Value b, Value x, Value gate, bool pre, bool strict) {
  const StringRef names[] = {kTokens, kPast};
  auto dims = DimsAttr::get(b.getContext(), names);
  return ScoreOp::create(alg.getBuilder(), alg.getLoc(), getValueType(b.getContext(), dims.getNames()), b, x, gate, pre, strict);
}
static Value apply(Algebra &alg, Value p, Value x, Value gate, bool pre, bool strict) {
  return ApplyOp::create(alg.getBuilder(), alg.getLoc(), x.getType(), p, x, gate, pre, strict);
}
static Value applyTransposed(Algebra &alg, Value p, Value b, Value gate, bool pre, bool strict) {
  return ApplyTransposedOp::create(alg.getBuilder(), alg.getLoc(), b.getType(), p, b, gate, pre, strict);
}
static void giveGate(Algebra &alg, Gradients &gradients, Value p, Value b, Value x, Value gate, bool pre, bool strict) {
  if (gate && !getSplat(gate))
    gradients.add(gate, GateGradOp::create(alg.getBuilder(), alg.getLoc(), gate.getType(), p, b, x, gate, pre, strict));
}

static void reverseSolve(SolveOp op, Algebra &alg, Gradients &gradients) {
  size_t n = op.getRows().size();
  SmallVector<Value> d;
  for (Value y : op.getResults())
    d.push_back(gradients.getOrZero(y));
  auto rows = SolveOp::create(alg.getBuilder(), op.getLoc(), op.getResultTypes(), op.getScores(), d, op.getGate(), /*transposed=*/true);
  for (auto [row, dRow] : llvm::zip(op.getRows(), rows.getResults()))
    gradients.add(row, dRow);
  // No differentiation through the inverse: dM = dR Y^T.
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j) {
      bool strict = j >= i;
      Value dRow = rows.getResults()[i], y = op.getResults()[j], m = op.getScores()[i * n + j];
      gradients.add(m, score(alg, dRow, y, op.getGate(), /*pre=*/false, strict));
      giveGate(alg, gradients, m, dRow, y, op.getGate(), /*pre=*/false, strict);
    }
}

static void reverseScan(chunk::ScanOp op, Algebra &alg, Gradients &gradients) {
  auto grad = ScanGradOp::create(alg.getBuilder(), op.getLoc(), op.getInitial().getType(), op.getDecay().getType(), op.getInput().getType(),
                                 op.getKind(), op.getDecay(), op.getInput(), op.getPrev(), op.getNext(), gradients.getOrZero(op.getPrev()),
                                 gradients.getOrZero(op.getNext()), gradients.getOrZero(op.getLast()));
  gradients.add(op.getInitial(), grad.getDInitial());
  gradients.add(op.getDecay(), grad.getDDecay());
  gradients.add(op.getInput(), grad.getDInput());
}

LogicalResult fla::reverseChunk(Operation *op, Algebra &alg, Gradients &gradients) {
  Value d = gradients.get(op->getResult(0));
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<ScoreOp>([&](ScoreOp s) {
        gradients.add(s.getB(), apply(alg, d, s.getX(), s.getGate(), s.getPre(), s.getStrict()));
        gradients.add(s.getX(), applyTransposed(alg, d, s.getB(), s.getGate(), s.getPre(), s.getStrict()));
        giveGate(alg, gradients, d, s.getB(), s.getX(), s.getGate(), s.getPre(), s.getStrict());
        return success();
      })
      .Case<ApplyOp>([&](ApplyOp a) {
        gradients.add(a.getP(), score(alg, d, a.getX(), a.getGate(), a.getPre(), a.getStrict()));
        gradients.add(a.getX(), applyTransposed(alg, a.getP(), d, a.getGate(), a.getPre(), a.getStrict()));
        giveGate(alg, gradients, a.getP(), d, a.getX(), a.getGate(), a.getPre(), a.getStrict());
        return success();
      })
      .Case<SolveOp>([&](SolveOp s) { return reverseSolve(s, alg, gradients), success(); })
      .Case<chunk::CumSumOp>([&](chunk::CumSumOp sum) {
        gradients.add(sum.getValue(), chunk::CumSumOp::create(alg.getBuilder(), op->getLoc(), d, !sum.getReverse(), sum.getExclusive()));
        return success();
      })
      .Case<PadOp>([&](PadOp pad) {
        gradients.add(pad.getValue(), PadOp::create(alg.getBuilder(), op->getLoc(), d, APFloat(0.0)));
        return success();
      })
      .Case<chunk::ScanOp>([&](chunk::ScanOp scan) { return reverseScan(scan, alg, gradients), success(); })
      .Default([](Operation *op) { return op->emitOpError("has no derivative"); });
}
