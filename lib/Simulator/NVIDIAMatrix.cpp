//===- NVIDIAMatrix.cpp - mma.sync, ldmatrix and stmatrix -----------------===//
//
// After the PTX ISA, "Warp Level Matrix Instructions": the figures and formulas
// of "Matrix Fragments for mma.m16n8k8", "... m16n8k16" and "ldmatrix". In all
// of them groupID = lane / 4 and threadID_in_group = lane % 4.
//
//===----------------------------------------------------------------------===//
#include "Intrinsics.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

#include <cstring>

using namespace mlir;
using namespace fla::sim;

//===----------------------------------------------------------------------===//
// Fragments
//===----------------------------------------------------------------------===//

// m16n8k16, .f16 and .bf16. A, i = 0..7: row = groupID for 0 <= i < 2 and 4 <= i < 6, groupID + 8
// otherwise; column = threadID_in_group * 2 + (i & 1) for i < 4, that + 8 otherwise.
static Entry a16816(unsigned lane, unsigned i) {
  unsigned group = lane / 4, member = lane % 4;
  bool upper = i < 2 || (4 <= i && i < 6);
  return {upper ? group : group + 8, member * 2 + (i & 1) + (i < 4 ? 0 : 8)};
}
// B, i = 0..3: row = threadID_in_group * 2 + (i & 1) for i < 2, that + 8 otherwise; column = groupID.
static Entry b16816(unsigned lane, unsigned i) { return {lane % 4 * 2 + (i & 1) + (i < 2 ? 0 : 8), lane / 4}; }

// C and D of all shapes m16n8, i = 0..3: row = groupID for i < 2, groupID + 8 otherwise;
// column = threadID_in_group * 2 + (i & 1).
static Entry c168(unsigned lane, unsigned i) { return {lane / 4 + (i < 2 ? 0 : 8), lane % 4 * 2 + (i & 1)}; }

// m16n8k8, .f16 and .bf16. A, i = 0..3: row = groupID for i < 2, groupID + 8 otherwise;
// column = threadID_in_group * 2 + (i & 1).
static Entry a1688(unsigned lane, unsigned i) { return {lane / 4 + (i < 2 ? 0 : 8), lane % 4 * 2 + (i & 1)}; }
// B, i = 0..1: row = threadID_in_group * 2 + i; column = groupID.
static Entry b1688(unsigned lane, unsigned i) { return {lane % 4 * 2 + i, lane / 4}; }

// m16n8k8, .tf32. A, i = 0..3: row = groupID for a0 and a2, groupID + 8 for a1 and a3;
// column = threadID_in_group for a0 and a1, that + 4 for a2 and a3.
static Entry a1688tf32(unsigned lane, unsigned i) { return {lane / 4 + (i % 2 ? 8 : 0), lane % 4 + (i < 2 ? 0 : 4)}; }
// B, i = 0..1: row = threadID_in_group for b0, that + 4 for b1; column = groupID.
static Entry b1688tf32(unsigned lane, unsigned i) { return {lane % 4 + (i ? 4 : 0), lane / 4}; }

// m16n8k4, .tf32. A: row = groupID for a0, groupID + 8 for a1; column = threadID_in_group. B: row = threadID_in_group.
static Entry a1684tf32(unsigned lane, unsigned i) { return {lane / 4 + (i ? 8 : 0), lane % 4}; }
static Entry b1684tf32(unsigned lane, unsigned) { return {lane % 4, lane / 4}; }

//===----------------------------------------------------------------------===//
// mma.sync
//===----------------------------------------------------------------------===//

static constexpr Fragment accumulator{c168, 4, Fragment::F32};
static const MatrixProduct halfK16{16, 8, 16, {a16816, 8, Fragment::F16}, {b16816, 4, Fragment::F16}, accumulator};
static const MatrixProduct bfloatK16{16, 8, 16, {a16816, 8, Fragment::BF16}, {b16816, 4, Fragment::BF16}, accumulator};
static const MatrixProduct halfK8{16, 8, 8, {a1688, 4, Fragment::F16}, {b1688, 2, Fragment::F16}, accumulator};
static const MatrixProduct bfloatK8{16, 8, 8, {a1688, 4, Fragment::BF16}, {b1688, 2, Fragment::BF16}, accumulator};
static const MatrixProduct tf32K8{16, 8, 8, {a1688tf32, 4, Fragment::TF32}, {b1688tf32, 2, Fragment::TF32}, accumulator};
static const MatrixProduct tf32K4{16, 8, 4, {a1684tf32, 2, Fragment::TF32}, {b1684tf32, 1, Fragment::TF32}, accumulator};

static const MatrixProduct *productOf(NVVM::MmaOp op) {
  NVVM::MMAShapeAttr shape = op.getShape();
  NVVM::MMATypes type = op.getMultiplicandAPtxType().value_or(NVVM::MMATypes::f16);
  if (shape.getM() != 16 || shape.getN() != 8 || type != op.getMultiplicandBPtxType().value_or(NVVM::MMATypes::f16))
    return nullptr;
  switch (type) {
  case NVVM::MMATypes::f16:
    return shape.getK() == 16 ? &halfK16 : shape.getK() == 8 ? &halfK8 : nullptr;
  case NVVM::MMATypes::bf16:
    return shape.getK() == 16 ? &bfloatK16 : shape.getK() == 8 ? &bfloatK8 : nullptr;
  case NVVM::MMATypes::tf32:
    return shape.getK() == 8 ? &tf32K8 : shape.getK() == 4 ? &tf32K4 : nullptr;
  default:
    return nullptr;
  }
}

static Slots slotsOfAll(OperandRange values, Compiler &c) {
  Slots all;
  for (Value value : values)
    llvm::append_range(all, c.slots(value));
  return all;
}

static void compileMma(Operation &op, Compiler &c) {
  auto mma = cast<NVVM::MmaOp>(op);
  const MatrixProduct *product = productOf(mma);
  if (!product || mma.getLayoutA() != NVVM::MMALayout::row || mma.getLayoutB() != NVVM::MMALayout::col || c.lanes != 32)
    return c.unsupported(op, "expected m16n8k16 or m16n8k8 of f16 or bf16, or m16n8k8 or m16n8k4 of tf32, row by col, in warps of 32");
  Slots d = c.define(mma.getRes());
  compileProduct(op, c, *product, {slotsOfAll(mma.getOperandA(), c), slotsOfAll(mma.getOperandB(), c), slotsOfAll(mma.getOperandC(), c), d});
}

//===----------------------------------------------------------------------===//
// ldmatrix and stmatrix: matrices of 8 rows of 16 bytes
//===----------------------------------------------------------------------===//

namespace {
struct MatrixAccess {
  Slot address;
  Slots registers; ///< one a matrix
  bool transposed;
  uint32_t site;
};
using Rows = uint16_t[8][8];
} // namespace

// Lanes 8m .. 8m + 7 hold the addresses of matrix m's rows, which are one phase of the banks.
static void countRows(ThreadBlock &b, const MatrixAccess &x, unsigned first, unsigned matrix) {
  if (b.options.counters)
    b.countPhase(x.site, llvm::ArrayRef(b.slot(x.address) + first + 8 * matrix, 8), 16);
}

/// Lane l's register has the elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4, of the transposed matrix if asked for.
static uint16_t &elementOf(Rows &rows, unsigned lane, unsigned half, bool transposed) {
  unsigned row = lane / 4, column = lane % 4 * 2 + half;
  return transposed ? rows[column][row] : rows[row][column];
}

/// A lane that a row goes to and that is not the one which holds its address: who reads the row, as far as order is concerned.
static unsigned readerOf(unsigned matrix, unsigned row) { return 4 * row + (4 * row == 8 * matrix + row); }

static void loadMatrix(ThreadBlock &b, const MatrixAccess &x, unsigned first, unsigned matrix) {
  Rows rows;
  countRows(b, x, first, matrix);
  for (unsigned row = 0; row < 8; ++row) {
    unsigned t = first + 8 * matrix + row;
    std::memset(rows[row], 0xff, 16);
    if (const uint8_t *from = b.readShared(b.slot(x.address)[t], 16, 16, first + readerOf(matrix, row), x.site))
      std::memcpy(rows[row], from, 16);
  }
  for (unsigned lane = 0; lane < 32; ++lane)
    b.slot(x.registers[matrix])[first + lane] = elementOf(rows, lane, 0, x.transposed) | uint32_t(elementOf(rows, lane, 1, x.transposed)) << 16;
}

static void storeMatrix(ThreadBlock &b, const MatrixAccess &x, unsigned first, unsigned matrix) {
  Rows rows;
  countRows(b, x, first, matrix);
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned half = 0; half < 2; ++half)
      elementOf(rows, lane, half, x.transposed) = b.slot(x.registers[matrix])[first + lane] >> 16 * half;
  for (unsigned row = 0; row < 8; ++row) {
    unsigned t = first + 8 * matrix + row;
    b.writeShared(b.slot(x.address)[t], 16, 16, t, x.site, reinterpret_cast<const uint8_t *>(rows[row]));
  }
}

template <void (*access)(ThreadBlock &, const MatrixAccess &, unsigned, unsigned)>
static void compileMatrixAccess(Operation &op, Compiler &c, MatrixAccess x) {
  size_t count = x.registers.size();
  if (c.lanes != 32 || (count != 1 && count != 2 && count != 4))
    return c.unsupported(op, "expected 1, 2 or 4 matrices in warps of 32");
  c.step([x](ThreadBlock &b) {
    b.forWarps(x.site, [&](unsigned, unsigned first) {
      for (unsigned matrix = 0; matrix < x.registers.size(); ++matrix)
        access(b, x, first, matrix);
    });
  });
}

template <class Op> static bool isM8N8B16(Op op) {
  return op.getShape().getM() == 8 && op.getShape().getN() == 8 && op.getEltType() == NVVM::LdStMatrixEltType::B16;
}

static void compileLoadMatrix(Operation &op, Compiler &c) {
  auto load = cast<NVVM::LdMatrixOp>(op);
  if (!isM8N8B16(load))
    return c.unsupported(op, "expected matrices m8n8 of b16");
  Slots results = c.define(load.getRes());
  compileMatrixAccess<loadMatrix>(op, c, {c.slot(load.getPtr()), results, load.getLayout() == NVVM::MMALayout::col, c.site(op)});
}

static void compileStoreMatrix(Operation &op, Compiler &c) {
  auto store = cast<NVVM::StMatrixOp>(op);
  if (!isM8N8B16(store))
    return c.unsupported(op, "expected matrices m8n8 of b16");
  Slots sources = slotsOfAll(store.getSources(), c);
  compileMatrixAccess<storeMatrix>(op, c, {c.slot(store.getPtr()), sources, store.getLayout() == NVVM::MMALayout::col, c.site(op)});
}

void fla::sim::addNVIDIAMatrix(Compiler::Handlers &h) {
  h["nvvm.mma.sync"] = compileMma;
  h["nvvm.ldmatrix"] = compileLoadMatrix;
  h["nvvm.stmatrix"] = compileStoreMatrix;
}
