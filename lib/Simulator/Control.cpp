//===- Control.cpp - branches and loops under a mask ----------------------===//
#include "ThreadBlock.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace fla::sim;

/// Slots of several values, one after the other.
static Slots slotsOfAll(ValueRange values, Compiler &c) {
  Slots all;
  for (Value value : values)
    llvm::append_range(all, c.slots(value));
  return all;
}

static Slots defineAll(ValueRange values, Compiler &c) {
  Slots all;
  for (Value value : values)
    llvm::append_range(all, c.define(value));
  return all;
}

/// Steps of a block, then copies of what it yields.
static Steps withYield(mlir::Block &block, ValueRange yielded, llvm::ArrayRef<Slot> targets, Compiler &c) {
  return c.collect([&] {
    c.compileInto(block);
    c.copy(targets, slotsOfAll(yielded, c));
  });
}

static void compileIf(Operation &op, Compiler &c) {
  auto branch = cast<scf::IfOp>(op);
  Slot condition = c.slot(branch.getCondition());
  Slots results = defineAll(op.getResults(), c);
  Steps yes = withYield(*branch.thenBlock(), branch.thenYield().getResults(), results, c), no;
  if (branch.elseBlock())
    no = withYield(*branch.elseBlock(), branch.elseYield().getResults(), results, c);
  c.step([=, yes = std::move(yes), no = std::move(no)](ThreadBlock &b) {
    b.run(yes, b.where(condition, 1));
    if (!no.empty())
      b.run(no, b.where(condition, 0));
  });
}

/// The induction variable is compared as a signed number of its width.
static void compileFor(Operation &op, Compiler &c) {
  auto loop = cast<scf::ForOp>(op);
  Slots carried = defineAll(loop.getRegionIterArgs(), c);
  for (auto [result, argument] : llvm::zip_equal(loop.getResults(), loop.getRegionIterArgs()))
    c.rename(result, c.slots(argument));
  c.copy(carried, slotsOfAll(loop.getInitArgs(), c));
  Slot at = c.define(loop.getInductionVar())[0], inside = c.fresh();
  Slot last = c.slot(loop.getUpperBound()), stride = c.slot(loop.getStep());
  c.copy({at}, {c.slot(loop.getLowerBound())});
  unsigned bits = elementOf(loop.getInductionVar().getType()).bits;
  bool isUnsigned = loop.getUnsignedCmp();
  Steps body = withYield(*loop.getBody(), loop.getBody()->getTerminator()->getOperands(), carried, c);
  uint32_t site = c.site(op);
  c.step([=, body = std::move(body)](ThreadBlock &b) {
    auto test = [&] {
      uint64_t *in = b.slot(inside);
      const uint64_t *x = b.slot(at), *y = b.slot(last);
      for (unsigned t = b.begin(); t < b.end(); ++t)
        in[t] = isUnsigned ? x[t] < y[t] : signExtend(x[t], bits) < signExtend(y[t], bits);
    };
    auto advance = [&] {
      uint64_t *x = b.slot(at);
      const uint64_t *by = b.slot(stride);
      for (unsigned t = b.begin(); t < b.end(); ++t)
        if (b.isActive(t)) {
          x[t] = (x[t] + by[t]) & lowBits(bits);
          if (signExtend(by[t], bits) <= 0 && !b.gaveUp) {
            b.error(ErrorKind::Limit, site, t, "expected a positive step of the loop, got " + llvm::Twine(signExtend(by[t], bits)));
            b.gaveUp = true;
          }
        }
    };
    b.loop(body, inside, test, advance, site);
  });
}

static void compileWhile(Operation &op, Compiler &c) {
  auto loop = cast<scf::WhileOp>(op);
  mlir::Block &before = *loop.getBeforeBody(), &after = *loop.getAfterBody();
  auto condition = cast<scf::ConditionOp>(before.getTerminator());
  Slots arguments = defineAll(before.getArguments(), c);
  c.copy(arguments, slotsOfAll(loop.getInits(), c));
  Slots results = defineAll(loop.getResults(), c);
  for (auto [argument, result] : llvm::zip_equal(after.getArguments(), loop.getResults()))
    c.rename(argument, c.slots(result));
  Steps testing = withYield(before, condition.getArgs(), results, c);
  Slot inside = c.slot(condition.getCondition());
  Steps body = withYield(after, after.getTerminator()->getOperands(), arguments, c);
  uint32_t site = c.site(op);
  c.step([=, testing = std::move(testing), body = std::move(body)](ThreadBlock &b) { b.loop(body, inside, [&] { b.run(testing); }, [] {}, site); });
}

void fla::sim::addControl(Compiler::Handlers &handlers) {
  handlers["scf.if"] = compileIf;
  handlers["scf.for"] = compileFor;
  handlers["scf.while"] = compileWhile;
}
