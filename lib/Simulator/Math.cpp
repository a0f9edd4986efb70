//===- Math.cpp - functions of `math` and LLVM's intrinsics ---------------===//
//
// Approximate instructions of a GPU compute what the host's library computes:
// their last bits are not part of what is tested. Vendors' intrinsics come by
// name through `llvm.call_intrinsic`.
//
//===----------------------------------------------------------------------===//
#include "Elementwise.h"

#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace fla::sim;

static void compileFma(Operation &op, Compiler &c) {
  mapFloats3(op, c, [](auto x, auto y, auto z) { return std::fma(x, y, z); });
}

/// f in double precision, rounded once.
template <double (*f)(double)> static void compileFunction(Operation &op, Compiler &c) {
  mapFloats1(op, c, [](auto x) { return static_cast<decltype(x)>(f(x)); });
}

// The functions of single precision that are worth being fast.
template <float (*f)(float), double (*g)(double)> static void compileFast(Operation &op, Compiler &c) {
  mapFloats1(op, c, [](auto x) {
    if constexpr (sizeof(x) == sizeof(float))
      return f(x);
    else
      return g(x);
  });
}

static double rsqrt(double x) { return 1.0 / std::sqrt(x); }
static double reciprocal(double x) { return 1.0 / x; }
static float flush(float x) { return std::abs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
static double exp2Flushed(double x) { return flush(static_cast<float>(std::exp2(flush(static_cast<float>(x))))); }

static void compileAbsoluteInt(Operation &op, Compiler &c) {
  mapInts1(op, c, [](uint64_t x, unsigned bits) { return std::abs(signExtend(x, bits)); });
}

static void compileLeadingZeros(Operation &op, Compiler &c) {
  mapInts1(op, c, [](uint64_t x, unsigned bits) { return llvm::countl_zero(x & lowBits(bits)) - (64 - bits); });
}

static void compileCallIntrinsic(Operation &op, Compiler &c) {
  using Handler = Compiler::Handler;
  Handler handler = llvm::StringSwitch<Handler>(cast<LLVM::CallIntrinsicOp>(op).getIntrin())
                        .Cases({"llvm.nvvm.ex2.approx.ftz.f32", "llvm.nvvm.ex2.approx.ftz.f"}, compileFunction<exp2Flushed>)
                        .Cases({"llvm.nvvm.ex2.approx.f32", "llvm.nvvm.ex2.approx.f", "llvm.amdgcn.exp2.f32"}, compileFast<exp2f, exp2>)
                        .Cases({"llvm.nvvm.lg2.approx.ftz.f", "llvm.nvvm.lg2.approx.f", "llvm.amdgcn.log.f32"}, compileFast<log2f, log2>)
                        .Cases({"llvm.nvvm.rsqrt.approx.ftz.f", "llvm.nvvm.rsqrt.approx.f", "llvm.amdgcn.rsq.f32"}, compileFunction<rsqrt>)
                        .Cases({"llvm.nvvm.sqrt.approx.ftz.f", "llvm.nvvm.sqrt.approx.f", "llvm.amdgcn.sqrt.f32"}, compileFunction<std::sqrt>)
                        .Cases({"llvm.nvvm.rcp.approx.ftz.f", "llvm.nvvm.rcp.approx.f", "llvm.amdgcn.rcp.f32"}, compileFunction<reciprocal>)
                        .Cases({"llvm.nvvm.tanh.approx.f32", "llvm.nvvm.tanh.approx.f"}, compileFunction<std::tanh>)
                        .Default(nullptr);
  if (!handler)
    return c.unsupported(op, "unknown intrinsic '" + cast<LLVM::CallIntrinsicOp>(op).getIntrin() + "'");
  handler(op, c);
}

void fla::sim::addMath(Compiler::Handlers &h) {
  h["math.fma"] = h["llvm.intr.fma"] = h["llvm.intr.fmuladd"] = compileFma;
  h["math.exp2"] = h["llvm.intr.exp2"] = compileFast<exp2f, exp2>;
  h["math.exp"] = h["llvm.intr.exp"] = compileFast<expf, exp>;
  h["math.log2"] = h["llvm.intr.log2"] = compileFast<log2f, log2>;
  h["math.log"] = h["llvm.intr.log"] = compileFast<logf, log>;
  h["math.log10"] = h["llvm.intr.log10"] = compileFunction<std::log10>;
  h["math.log1p"] = compileFunction<std::log1p>;
  h["math.expm1"] = compileFunction<std::expm1>;
  h["math.sqrt"] = h["llvm.intr.sqrt"] = compileFast<sqrtf, sqrt>;
  h["math.rsqrt"] = compileFunction<rsqrt>;
  h["math.tanh"] = h["llvm.intr.tanh"] = compileFunction<std::tanh>;
  h["math.erf"] = compileFunction<std::erf>;
  h["math.sin"] = h["llvm.intr.sin"] = compileFunction<std::sin>;
  h["math.cos"] = h["llvm.intr.cos"] = compileFunction<std::cos>;
  h["math.absf"] = h["llvm.intr.fabs"] = compileFast<fabsf, fabs>;
  h["math.floor"] = h["llvm.intr.floor"] = compileFast<floorf, floor>;
  h["math.ceil"] = h["llvm.intr.ceil"] = compileFast<ceilf, ceil>;
  h["math.trunc"] = h["llvm.intr.trunc"] = compileFast<truncf, trunc>;
  h["math.round"] = h["llvm.intr.round"] = compileFast<roundf, round>;
  h["math.roundeven"] = h["llvm.intr.roundeven"] = h["llvm.intr.rint"] = h["llvm.intr.nearbyint"] = compileFast<nearbyintf, nearbyint>;
  h["math.copysign"] =
      h["llvm.intr.copysign"] = [](Operation &op, Compiler &c) { mapFloats2(op, c, [](auto x, auto y) { return std::copysign(x, y); }); };
  h["math.powf"] = h["llvm.intr.pow"] = [](Operation &op, Compiler &c) {
    mapFloats2(op, c, [](auto x, auto y) { return static_cast<decltype(x)>(std::pow(x, y)); });
  };
  h["math.absi"] = h["llvm.intr.abs"] = compileAbsoluteInt;
  h["math.ctlz"] = h["llvm.intr.ctlz"] = compileLeadingZeros;
  h["nvvm.rcp.approx.ftz.f"] = compileFunction<reciprocal>;
  h["llvm.call_intrinsic"] = compileCallIntrinsic;
}
