//===- Arith.cpp - arithmetic, comparisons and conversions ----------------===//
//
// The operations of `arith` and their like-named equals of the LLVM dialect.
//
//===----------------------------------------------------------------------===//
#include "Elementwise.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace fla::sim;

using Handler = Compiler::Handler;

//===----------------------------------------------------------------------===//
// Integers
//===----------------------------------------------------------------------===//

// Threads that are not active compute too: nothing here may trap.
static int64_t divideSigned(uint64_t x, uint64_t y, unsigned bits) {
  int64_t a = signExtend(x, bits), b = signExtend(y, bits);
  return b == 0 ? 0 : b == -1 ? int64_t(-uint64_t(a)) : a / b;
}
static int64_t remainderSigned(uint64_t x, uint64_t y, unsigned bits) {
  int64_t b = signExtend(y, bits);
  return b == 0 || b == -1 ? 0 : signExtend(x, bits) % b;
}
static int64_t divideFloor(uint64_t x, uint64_t y, unsigned bits) {
  int64_t b = signExtend(y, bits), rest = remainderSigned(x, y, bits);
  return divideSigned(x, y, bits) - (rest != 0 && (rest < 0) != (b < 0));
}
static int64_t divideCeil(uint64_t x, uint64_t y, unsigned bits) {
  int64_t b = signExtend(y, bits), rest = remainderSigned(x, y, bits);
  return divideSigned(x, y, bits) + (rest != 0 && (rest < 0) == (b < 0));
}

static void addIntegers(Compiler::Handlers &h) {
  h["arith.addi"] = h["llvm.add"] = [](Operation &op, Compiler &c) { mapInts2(op, c, [](uint64_t x, uint64_t y, unsigned) { return x + y; }); };
  h["arith.subi"] = h["llvm.sub"] = [](Operation &op, Compiler &c) { mapInts2(op, c, [](uint64_t x, uint64_t y, unsigned) { return x - y; }); };
  h["arith.muli"] = h["llvm.mul"] = [](Operation &op, Compiler &c) { mapInts2(op, c, [](uint64_t x, uint64_t y, unsigned) { return x * y; }); };
  h["arith.andi"] = h["llvm.and"] = [](Operation &op, Compiler &c) { mapInts2(op, c, [](uint64_t x, uint64_t y, unsigned) { return x & y; }); };
  h["arith.ori"] = h["llvm.or"] = [](Operation &op, Compiler &c) { mapInts2(op, c, [](uint64_t x, uint64_t y, unsigned) { return x | y; }); };
  h["arith.xori"] = h["llvm.xor"] = [](Operation &op, Compiler &c) { mapInts2(op, c, [](uint64_t x, uint64_t y, unsigned) { return x ^ y; }); };
  h["arith.divsi"] = h["llvm.sdiv"] = [](Operation &op, Compiler &c) { mapInts2(op, c, divideSigned); };
  h["arith.remsi"] = h["llvm.srem"] = [](Operation &op, Compiler &c) { mapInts2(op, c, remainderSigned); };
  h["arith.floordivsi"] = [](Operation &op, Compiler &c) { mapInts2(op, c, divideFloor); };
  h["arith.ceildivsi"] = [](Operation &op, Compiler &c) { mapInts2(op, c, divideCeil); };
  h["arith.divui"] =
      h["llvm.udiv"] = [](Operation &op, Compiler &c) { mapInts2(op, c, [](uint64_t x, uint64_t y, unsigned) { return y ? x / y : 0; }); };
  h["arith.remui"] =
      h["llvm.urem"] = [](Operation &op, Compiler &c) { mapInts2(op, c, [](uint64_t x, uint64_t y, unsigned) { return y ? x % y : 0; }); };
  h["arith.ceildivui"] = [](Operation &op, Compiler &c) {
    mapInts2(op, c, [](uint64_t x, uint64_t y, unsigned) { return y && x ? (x - 1) / y + 1 : 0; });
  };
  h["arith.shli"] = h["llvm.shl"] = [](Operation &op, Compiler &c) {
    mapInts2(op, c, [](uint64_t x, uint64_t y, unsigned bits) { return y < bits ? x << y : 0; });
  };
  h["arith.shrui"] = h["llvm.lshr"] = [](Operation &op, Compiler &c) {
    mapInts2(op, c, [](uint64_t x, uint64_t y, unsigned bits) { return y < bits ? x >> y : 0; });
  };
  h["arith.shrsi"] = h["llvm.ashr"] = [](Operation &op, Compiler &c) {
    mapInts2(op, c, [](uint64_t x, uint64_t y, unsigned bits) { return signExtend(x, bits) >> (y < bits ? y : bits - 1); });
  };
  h["arith.maxsi"] = h["llvm.intr.smax"] = [](Operation &op, Compiler &c) {
    mapInts2(op, c, [](uint64_t x, uint64_t y, unsigned bits) { return std::max(signExtend(x, bits), signExtend(y, bits)); });
  };
  h["arith.minsi"] = h["llvm.intr.smin"] = [](Operation &op, Compiler &c) {
    mapInts2(op, c, [](uint64_t x, uint64_t y, unsigned bits) { return std::min(signExtend(x, bits), signExtend(y, bits)); });
  };
  h["arith.maxui"] =
      h["llvm.intr.umax"] = [](Operation &op, Compiler &c) { mapInts2(op, c, [](uint64_t x, uint64_t y, unsigned) { return std::max(x, y); }); };
  h["arith.minui"] =
      h["llvm.intr.umin"] = [](Operation &op, Compiler &c) { mapInts2(op, c, [](uint64_t x, uint64_t y, unsigned) { return std::min(x, y); }); };
  h["arith.extsi"] = h["llvm.sext"] = h["arith.index_cast"] = [](Operation &op, Compiler &c) { mapInts1(op, c, signExtend); };
}

//===----------------------------------------------------------------------===//
// Floating point
//===----------------------------------------------------------------------===//

// IEEE 754-2019 maximum and minimum: NaN wins.
template <class T> static T maximum(T x, T y) { return std::isnan(x) ? x : std::isnan(y) ? y : x == y ? (std::signbit(x) ? y : x) : std::max(x, y); }
template <class T> static T minimum(T x, T y) { return std::isnan(x) ? x : std::isnan(y) ? y : x == y ? (std::signbit(x) ? x : y) : std::min(x, y); }

static void addFloats(Compiler::Handlers &h) {
  h["arith.addf"] = h["llvm.fadd"] = [](Operation &op, Compiler &c) { mapFloats2(op, c, [](auto x, auto y) { return x + y; }); };
  h["arith.subf"] = h["llvm.fsub"] = [](Operation &op, Compiler &c) { mapFloats2(op, c, [](auto x, auto y) { return x - y; }); };
  h["arith.mulf"] = h["llvm.fmul"] = [](Operation &op, Compiler &c) { mapFloats2(op, c, [](auto x, auto y) { return x * y; }); };
  h["arith.divf"] = h["llvm.fdiv"] = [](Operation &op, Compiler &c) { mapFloats2(op, c, [](auto x, auto y) { return x / y; }); };
  h["arith.remf"] = h["llvm.frem"] = [](Operation &op, Compiler &c) { mapFloats2(op, c, [](auto x, auto y) { return std::fmod(x, y); }); };
  h["arith.negf"] = h["llvm.fneg"] = [](Operation &op, Compiler &c) { mapFloats1(op, c, [](auto x) { return -x; }); };
  h["arith.maximumf"] = h["llvm.intr.maximum"] = [](Operation &op, Compiler &c) { mapFloats2(op, c, [](auto x, auto y) { return maximum(x, y); }); };
  h["arith.minimumf"] = h["llvm.intr.minimum"] = [](Operation &op, Compiler &c) { mapFloats2(op, c, [](auto x, auto y) { return minimum(x, y); }); };
  h["arith.maxnumf"] = h["llvm.intr.maxnum"] = [](Operation &op, Compiler &c) { mapFloats2(op, c, [](auto x, auto y) { return std::fmax(x, y); }); };
  h["arith.minnumf"] = h["llvm.intr.minnum"] = [](Operation &op, Compiler &c) { mapFloats2(op, c, [](auto x, auto y) { return std::fmin(x, y); }); };
}

//===----------------------------------------------------------------------===//
// Comparisons
//===----------------------------------------------------------------------===//

template <class F> static void compareInts(Operation &op, Compiler &c, F f) { mapInts2(op, c, f); }

/// The predicates of `arith` and of the LLVM dialect have the same numbers.
static void compileCompareInts(Operation &op, Compiler &c) {
  int64_t predicate = cast<IntegerAttr>(op.getAttr("predicate")).getInt();
  switch (static_cast<arith::CmpIPredicate>(predicate)) {
  case arith::CmpIPredicate::eq:
    return compareInts(op, c, [](uint64_t x, uint64_t y, unsigned) { return x == y; });
  case arith::CmpIPredicate::ne:
    return compareInts(op, c, [](uint64_t x, uint64_t y, unsigned) { return x != y; });
  case arith::CmpIPredicate::slt:
    return compareInts(op, c, [](uint64_t x, uint64_t y, unsigned bits) { return signExtend(x, bits) < signExtend(y, bits); });
  case arith::CmpIPredicate::sle:
    return compareInts(op, c, [](uint64_t x, uint64_t y, unsigned bits) { return signExtend(x, bits) <= signExtend(y, bits); });
  case arith::CmpIPredicate::sgt:
    return compareInts(op, c, [](uint64_t x, uint64_t y, unsigned bits) { return signExtend(x, bits) > signExtend(y, bits); });
  case arith::CmpIPredicate::sge:
    return compareInts(op, c, [](uint64_t x, uint64_t y, unsigned bits) { return signExtend(x, bits) >= signExtend(y, bits); });
  case arith::CmpIPredicate::ult:
    return compareInts(op, c, [](uint64_t x, uint64_t y, unsigned) { return x < y; });
  case arith::CmpIPredicate::ule:
    return compareInts(op, c, [](uint64_t x, uint64_t y, unsigned) { return x <= y; });
  case arith::CmpIPredicate::ugt:
    return compareInts(op, c, [](uint64_t x, uint64_t y, unsigned) { return x > y; });
  case arith::CmpIPredicate::uge:
    return compareInts(op, c, [](uint64_t x, uint64_t y, unsigned) { return x >= y; });
  }
}

/// Bits of a predicate: equal, greater, less, unordered.
static unsigned outcomes(arith::CmpFPredicate predicate) {
  using P = arith::CmpFPredicate;
  switch (predicate) {
  case P::AlwaysFalse:
    return 0;
  case P::OEQ:
    return 1;
  case P::OGT:
    return 2;
  case P::OGE:
    return 3;
  case P::OLT:
    return 4;
  case P::OLE:
    return 5;
  case P::ONE:
    return 6;
  case P::ORD:
    return 7;
  case P::UEQ:
    return 9;
  case P::UGT:
    return 10;
  case P::UGE:
    return 11;
  case P::ULT:
    return 12;
  case P::ULE:
    return 13;
  case P::UNE:
    return 14;
  case P::UNO:
    return 8;
  case P::AlwaysTrue:
    return 15;
  }
  return 0;
}

/// The LLVM dialect numbers its predicates as LLVM does: by their outcomes' bits,
/// in the order equal, greater, less, unordered.
static void compileCompareFloats(Operation &op, Compiler &c) {
  unsigned predicate = cast<IntegerAttr>(op.getAttr("predicate")).getInt();
  unsigned when = isa<arith::CmpFOp>(op) ? outcomes(static_cast<arith::CmpFPredicate>(predicate)) : predicate;
  Slots targets = c.define(op.getResult(0));
  withFormat(op.getOperand(0).getType(), [&](auto format) {
    using X = decltype(format);
    for (auto [i, target] : llvm::enumerate(targets))
      c.map(target, c.slots(op.getOperand(0))[i], c.slots(op.getOperand(1))[i], [when](uint64_t a, uint64_t b) -> uint64_t {
        auto x = X::get(a), y = X::get(b);
        unsigned outcome = x == y ? 1 : x > y ? 2 : x < y ? 4 : 8;
        return (when & outcome) != 0;
      });
  });
}

static void compileSelect(Operation &op, Compiler &c) {
  Slots conditions(c.slots(op.getOperand(0))), yes(c.slots(op.getOperand(1))), no(c.slots(op.getOperand(2)));
  for (auto [i, target] : llvm::enumerate(c.define(op.getResult(0))))
    c.map(target, conditions[conditions.size() == 1 ? 0 : i], yes[i], no[i], [](uint64_t is, uint64_t x, uint64_t y) { return is ? x : y; });
}

//===----------------------------------------------------------------------===//
// Conversions
//===----------------------------------------------------------------------===//

static void compileConvertFloat(Operation &op, Compiler &c) {
  Slots targets = c.define(op.getResult(0));
  withFormat(op.getOperand(0).getType(), [&](auto from) {
    withFormat(op.getResult(0).getType(), [&](auto to) {
      using X = decltype(from);
      using Y = decltype(to);
      for (auto [i, target] : llvm::enumerate(targets))
        c.map(target, c.slots(op.getOperand(0))[i], [](uint64_t x) { return Y::put(static_cast<typename Y::Number>(X::get(x))); });
    });
  });
}

template <bool isSigned> static void compileIntToFloat(Operation &op, Compiler &c) {
  Slots targets = c.define(op.getResult(0));
  unsigned bits = elementOf(op.getOperand(0).getType()).bits;
  withFormat(op.getResult(0).getType(), [&](auto format) {
    using X = decltype(format);
    for (auto [i, target] : llvm::enumerate(targets))
      c.map(target, c.slots(op.getOperand(0))[i], [bits](uint64_t x) {
        return X::put(isSigned ? static_cast<typename X::Number>(signExtend(x, bits)) : static_cast<typename X::Number>(x));
      });
  });
}

/// Out of range saturates, NaN is zero: defined here although it is not in LLVM.
template <bool isSigned> static void compileFloatToInt(Operation &op, Compiler &c) {
  Slots targets = c.define(op.getResult(0));
  unsigned bits = elementOf(op.getResult(0).getType()).bits;
  double highest = std::ldexp(1.0, isSigned ? bits - 1 : bits), lowest = isSigned ? -highest : 0.0;
  withFormat(op.getOperand(0).getType(), [&](auto format) {
    using X = decltype(format);
    for (auto [i, target] : llvm::enumerate(targets))
      c.map(target, c.slots(op.getOperand(0))[i], [=](uint64_t x) -> uint64_t {
        double value = std::trunc(double(X::get(x)));
        if (std::isnan(value))
          return 0;
        if (value >= highest)
          return lowBits(isSigned ? bits - 1 : bits);
        if (value <= lowest)
          return isSigned ? uint64_t(1) << (bits - 1) : 0;
        return (isSigned ? uint64_t(int64_t(value)) : uint64_t(value)) & lowBits(bits);
      });
  });
}

void fla::sim::addArith(Compiler::Handlers &h) {
  addIntegers(h);
  addFloats(h);
  h["arith.cmpi"] = h["llvm.icmp"] = compileCompareInts;
  h["arith.cmpf"] = h["llvm.fcmp"] = compileCompareFloats;
  h["arith.select"] = h["llvm.select"] = compileSelect;
  h["arith.extf"] = h["arith.truncf"] = h["llvm.fpext"] = h["llvm.fptrunc"] = compileConvertFloat;
  h["arith.sitofp"] = h["llvm.sitofp"] = compileIntToFloat<true>;
  h["arith.uitofp"] = h["llvm.uitofp"] = compileIntToFloat<false>;
  h["arith.fptosi"] = h["llvm.fptosi"] = compileFloatToInt<true>;
  h["arith.fptoui"] = h["llvm.fptoui"] = compileFloatToInt<false>;
}
