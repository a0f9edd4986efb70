//===- Atoms.cpp - MFMA, WMMA and what else a kernel needs ----------------===//
//
// Fragments: AMD Instinct MI300 ISA, "Matrix arithmetic instructions" (MFMA: lane l
// holds row or column l % 16 of an operand and four neighbours along k); RDNA3 ISA,
// "Wave matrix multiply accumulate" (both halves of the wave hold the same operand
// values, rows of the sums alternate between them); RDNA4 ISA, the same section (the
// halves hold different values along k).
//
//===----------------------------------------------------------------------===//
#include "Atoms.h"

#include "mlir/Dialect/LLVMIR/ROCDLDialect.h"

namespace fla::amd {
using namespace mlir;
using namespace gpu;
using tile::LinearLayout;

static Atom mfmaHalf(Type element) {
  return {16, 16, 16, element,
          LinearLayout({16, 16}, {{0, 1}, {0, 2}}, {{1, 0}, {2, 0}, {4, 0}, {8, 0}, {0, 4}, {0, 8}}, {}),
          LinearLayout({16, 16}, {{1, 0}, {2, 0}}, {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {4, 0}, {8, 0}}, {}),
          LinearLayout({16, 16}, {{1, 0}, {2, 0}}, {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {4, 0}, {8, 0}}, {})};
}

/// Exact products of f32.
static Atom mfmaSingle(Type element) {
  return {16, 16, 4, element,
          LinearLayout({16, 4}, {}, {{1, 0}, {2, 0}, {4, 0}, {8, 0}, {0, 1}, {0, 2}}, {}),
          LinearLayout({4, 16}, {}, {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {1, 0}, {2, 0}}, {}),
          LinearLayout({16, 16}, {{1, 0}, {2, 0}}, {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {4, 0}, {8, 0}}, {})};
}

static Atom wmma11(Type element) {
  return {16, 16, 16, element,
          LinearLayout({16, 16}, {{0, 1}, {0, 2}, {0, 4}, {0, 8}}, {{1, 0}, {2, 0}, {4, 0}, {8, 0}, {0, 0}}, {}),
          LinearLayout({16, 16}, {{1, 0}, {2, 0}, {4, 0}, {8, 0}}, {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {0, 0}}, {}),
          LinearLayout({16, 16}, {{2, 0}, {4, 0}, {8, 0}}, {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {1, 0}}, {})};
}

static Atom wmma12(Type element) {
  return {16, 16, 16, element,
          LinearLayout({16, 16}, {{0, 1}, {0, 2}, {0, 4}}, {{1, 0}, {2, 0}, {4, 0}, {8, 0}, {0, 8}}, {}),
          LinearLayout({16, 16}, {{1, 0}, {2, 0}, {4, 0}}, {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {8, 0}}, {}),
          LinearLayout({16, 16}, {{1, 0}, {2, 0}, {4, 0}}, {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {8, 0}}, {})};
}

namespace {
class AMDTarget : public Target {
public:
  using Target::Target;

  Value threadIndex(Emitter &e) const override { return ROCDL::ThreadIdXOp::create(e.b, e.loc, e.b.getI32Type()); }
  Value blockIndex(Emitter &e) const override { return ROCDL::BlockIdXOp::create(e.b, e.loc, e.b.getI32Type()); }
  void barrier(Emitter &e) const override { ROCDL::BarrierOp::create(e.b, e.loc); }

  Value shuffleXor(Emitter &e, Value x, int64_t mask) const override {
    auto i32 = [&](int64_t value) { return arith::ConstantOp::create(e.b, e.loc, e.b.getI32IntegerAttr(value)); };
    Value lane = arith::AndIOp::create(e.b, e.loc, threadIndex(e), i32(chip.lanes - 1));
    Value other = arith::XOrIOp::create(e.b, e.loc, lane, i32(mask));
    Value address = arith::ShLIOp::create(e.b, e.loc, other, i32(2));
    Value bits = LLVM::BitcastOp::create(e.b, e.loc, e.b.getI32Type(), x);
    return LLVM::BitcastOp::create(e.b, e.loc, x.getType(), ROCDL::DsBpermuteOp::create(e.b, e.loc, e.b.getI32Type(), address, bits));
  }

  std::optional<Atom> atom(Type element, bool) const override {
    bool half = element.isBF16() || element.isF16();
    switch (chip.matrixUnit) {
    case MatrixUnit::MFMA: return half ? mfmaHalf(element) : mfmaSingle(element);
    case MatrixUnit::WMMA11: return half ? std::optional(wmma11(element)) : std::nullopt;
    case MatrixUnit::WMMA12: return half ? std::optional(wmma12(element)) : std::nullopt;
    case MatrixUnit::MmaSync: break;
    }
    return std::nullopt;
  }

  SmallVector<Value> multiply(Emitter &e, const Atom &atom, ValueRange a, ValueRange b, ValueRange c) const override {
    Type sums = Emitter::vec(e.b.getF32Type(), c.size());
    Value sum = LLVM::UndefOp::create(e.b, e.loc, sums);
    for (auto [i, x] : llvm::enumerate(c))
      sum = LLVM::InsertElementOp::create(e.b, e.loc, sum, x, e.index(i));
    Value product = chip.matrixUnit == MatrixUnit::MFMA ? mfma(e, atom, a[0], b[0], sum) : wmma(e, atom, a[0], b[0], sum);
    SmallVector<Value> list;
    for (size_t i = 0; i < c.size(); ++i)
      list.push_back(LLVM::ExtractElementOp::create(e.b, e.loc, product, e.index(i)));
    return list;
  }

private:
  /// bf16 travels as 16-bit integers.
  static Value integers(Emitter &e, Value x) {
    return LLVM::BitcastOp::create(e.b, e.loc, Emitter::vec(e.b.getI16Type(), Emitter::width(x.getType())), x);
  }

  Value mfma(Emitter &e, const Atom &atom, Value a, Value b, Value c) const {
    Value none = arith::ConstantOp::create(e.b, e.loc, e.b.getI32IntegerAttr(0));
    if (atom.element.isF32())
      return ROCDL::mfma_f32_16x16x4f32::create(e.b, e.loc, c.getType(), ValueRange{a, b, c, none, none, none});
    if (atom.element.isF16())
      return ROCDL::mfma_f32_16x16x16f16::create(e.b, e.loc, c.getType(), ValueRange{a, b, c, none, none, none});
    return ROCDL::mfma_f32_16x16x16bf16_1k::create(e.b, e.loc, c.getType(), ValueRange{integers(e, a), integers(e, b), c, none, none, none});
  }

  Value wmma(Emitter &e, const Atom &atom, Value a, Value b, Value c) const {
    if (atom.element.isF16())
      return ROCDL::wmma_f32_16x16x16_f16::create(e.b, e.loc, c.getType(), a, b, c);
    return ROCDL::wmma_f32_16x16x16_bf16::create(e.b, e.loc, c.getType(), integers(e, a), integers(e, b), c);
  }
};
} // namespace

std::unique_ptr<Target> createTarget(const Chip &chip, MLIRContext *) { return std::make_unique<AMDTarget>(chip); }

} // namespace fla::amd
