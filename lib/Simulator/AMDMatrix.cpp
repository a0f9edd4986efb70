//===- AMDMatrix.cpp - MFMA and WMMA --------------------------------------===//
//
// MFMA after the CDNA 3 ISA, "Matrix Arithmetic Instructions", whose layouts
// AMD's matrix instruction calculator prints; CDNA 4 doubles k. WMMA after the
// RDNA 3 ISA and the RDNA 4 ISA, "Wave Matrix Multiply Accumulate", wave32.
// MI200's flushing of subnormal 16-bit numbers is not modelled.
//
//===----------------------------------------------------------------------===//
#include "Intrinsics.h"

#include "mlir/Dialect/LLVMIR/ROCDLDialect.h"

using namespace mlir;
using namespace fla::sim;

//===----------------------------------------------------------------------===//
// MFMA, 64 lanes. A's row is the lane modulo m; each group of m lanes has the
// next `width` columns. B is held as A's transpose.
//===----------------------------------------------------------------------===//

template <unsigned size, unsigned width> static Entry mfmaA(unsigned lane, unsigned i) { return {lane % size, lane / size * width + i}; }
template <unsigned size, unsigned width> static Entry mfmaB(unsigned lane, unsigned i) { return {lane / size * width + i, lane % size}; }

// C and D of 16x16: four consecutive rows a lane, by groups of 16 lanes.
static Entry mfmaC16(unsigned lane, unsigned i) { return {lane / 16 * 4 + i, lane % 16}; }
// C and D of 32x32: blocks of four rows, in turn by the lower and the upper half of the wave.
static Entry mfmaC32(unsigned lane, unsigned i) { return {i / 4 * 8 + lane / 32 * 4 + i % 4, lane % 32}; }

template <unsigned width> static MatrixProduct mfma16(Fragment::Format format) {
  return {16, 16, 4 * width, {mfmaA<16, width>, width, format}, {mfmaB<16, width>, width, format}, {mfmaC16, 4, Fragment::F32}};
}
template <unsigned width> static MatrixProduct mfma32(Fragment::Format format) {
  return {32, 32, 2 * width, {mfmaA<32, width>, width, format}, {mfmaB<32, width>, width, format}, {mfmaC32, 16, Fragment::F32}};
}

/// The trailing immediates (cbsz, abid, blgp) permute blocks and must be zero.
static void compileMfma(Operation &op, Compiler &c, const MatrixProduct &product) {
  for (Value immediate : op.getOperands().drop_front(3))
    if (c.constantOf(immediate).value_or(1) != 0)
      return c.unsupported(op, "expected zero for cbsz, abid and blgp");
  if (c.lanes != 64)
    return c.unsupported(op, "expected waves of 64 lanes");
  Slots d = c.define(op.getResult(0));
  compileProduct(op, c, product, {Slots(c.slots(op.getOperand(0))), Slots(c.slots(op.getOperand(1))), Slots(c.slots(op.getOperand(2))), d});
}

template <MatrixProduct (*make)(Fragment::Format), Fragment::Format format> static void compileMfma(Operation &op, Compiler &c) {
  static const MatrixProduct product = make(format);
  compileMfma(op, c, product);
}

//===----------------------------------------------------------------------===//
// WMMA 16x16x16, 32 lanes
//===----------------------------------------------------------------------===//

// RDNA 3: a lane has a whole row of A (a column of B); the upper half of the wave repeats the lower.
static Entry rdna3A(unsigned lane, unsigned i) { return {lane % 16, i}; }
static Entry rdna3B(unsigned lane, unsigned i) { return {i, lane % 16}; }
// Even rows in the lower half of the wave, odd ones in the upper.
static Entry rdna3C(unsigned lane, unsigned i) { return {2 * i + lane / 16, lane % 16}; }

// RDNA 4: eight columns of A for each half of the wave, nothing twice; eight rows of C.
static Entry rdna4A(unsigned lane, unsigned i) { return {lane % 16, lane / 16 * 8 + i}; }
static Entry rdna4B(unsigned lane, unsigned i) { return {lane / 16 * 8 + i, lane % 16}; }
static Entry rdna4C(unsigned lane, unsigned i) { return {lane / 16 * 8 + i, lane % 16}; }

template <Fragment::Format format> static void compileWmma(Operation &op, Compiler &c) {
  static const MatrixProduct rdna3{16, 16, 16, {rdna3A, 16, format}, {rdna3B, 16, format}, {rdna3C, 8, Fragment::F32}};
  static const MatrixProduct rdna4{16, 16, 16, {rdna4A, 8, format}, {rdna4B, 8, format}, {rdna4C, 8, Fragment::F32}};
  if (c.lanes != 32)
    return c.unsupported(op, "expected waves of 32 lanes");
  Slots a(c.slots(op.getOperand(0))), d = c.define(op.getResult(0));
  const MatrixProduct &product = a.size() == 16 ? rdna3 : rdna4;
  compileProduct(op, c, product, {a, Slots(c.slots(op.getOperand(1))), Slots(c.slots(op.getOperand(2))), d});
}

void fla::sim::addAMDMatrix(Compiler::Handlers &h) {
  h["rocdl.mfma.f32.16x16x16bf16.1k"] = compileMfma<mfma16<4>, Fragment::BF16>;
  h["rocdl.mfma.f32.16x16x16f16"] = compileMfma<mfma16<4>, Fragment::F16>;
  h["rocdl.mfma.f32.32x32x8bf16.1k"] = compileMfma<mfma32<4>, Fragment::BF16>;
  h["rocdl.mfma.f32.32x32x8f16"] = compileMfma<mfma32<4>, Fragment::F16>;
  h["rocdl.mfma.f32.16x16x4f32"] = compileMfma<mfma16<1>, Fragment::F32>;
  h["rocdl.mfma.f32.32x32x2f32"] = compileMfma<mfma32<1>, Fragment::F32>;
  h["rocdl.mfma.f32.16x16x8.xf32"] = compileMfma<mfma16<2>, Fragment::TF32>;
  h["rocdl.mfma.f32.32x32x4.xf32"] = compileMfma<mfma32<2>, Fragment::TF32>;
  h["rocdl.mfma.f32.16x16x32.bf16"] = compileMfma<mfma16<8>, Fragment::BF16>;
  h["rocdl.mfma.f32.16x16x32.f16"] = compileMfma<mfma16<8>, Fragment::F16>;
  h["rocdl.mfma.f32.32x32x16.bf16"] = compileMfma<mfma32<8>, Fragment::BF16>;
  h["rocdl.mfma.f32.32x32x16.f16"] = compileMfma<mfma32<8>, Fragment::F16>;
  h["rocdl.wmma.f32.16x16x16.bf16"] = compileWmma<Fragment::BF16>;
  h["rocdl.wmma.f32.16x16x16.f16"] = compileWmma<Fragment::F16>;
}
