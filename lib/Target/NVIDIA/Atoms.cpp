//===- Atoms.cpp - mma.sync and what else a kernel needs ------------------===//
//
// Fragments: PTX ISA, "Matrix fragments for mma.m16n8k16" (16-bit operands) and
// "... for mma.m16n8k8" (tf32).
//
//===----------------------------------------------------------------------===//
#include "Atoms.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

namespace fla::nvidia {
using namespace mlir;
using namespace gpu;
using tile::LinearLayout;

static LinearLayout accumulator() { return LinearLayout({16, 8}, {{0, 1}, {8, 0}}, {{0, 2}, {0, 4}, {1, 0}, {2, 0}, {4, 0}}, {}); }

/// Operands of 16 bits: pairs along k.
static Atom halfAtom(Type element) {
  return {16,
          8,
          16,
          element,
          LinearLayout({16, 16}, {{0, 1}, {8, 0}, {0, 8}}, {{0, 2}, {0, 4}, {1, 0}, {2, 0}, {4, 0}}, {}),
          LinearLayout({16, 8}, {{1, 0}, {8, 0}}, {{2, 0}, {4, 0}, {0, 1}, {0, 2}, {0, 4}}, {}),
          accumulator()};
}

/// The lower 13 bits of an operand are ignored.
static Atom tf32Atom(Type element) {
  return {16,
          8,
          8,
          element,
          LinearLayout({16, 8}, {{8, 0}, {0, 4}}, {{0, 1}, {0, 2}, {1, 0}, {2, 0}, {4, 0}}, {}),
          LinearLayout({8, 8}, {{4, 0}}, {{1, 0}, {2, 0}, {0, 1}, {0, 2}, {0, 4}}, {}),
          accumulator(),
          /*cuts=*/true};
}

namespace {
class NVIDIATarget : public Target {
public:
  using Target::Target;

  Value threadIndex(Emitter &e) const override { return NVVM::ThreadIdXOp::create(e.b, e.loc, e.b.getI32Type()); }
  Value blockIndex(Emitter &e) const override { return NVVM::BlockIdXOp::create(e.b, e.loc, e.b.getI32Type()); }
  void barrier(Emitter &e) const override { NVVM::Barrier0Op::create(e.b, e.loc); }

  Value shuffleXor(Emitter &e, Value x, int64_t mask) const override {
    auto i32 = [&](int64_t value) { return arith::ConstantOp::create(e.b, e.loc, e.b.getI32IntegerAttr(value)); };
    return NVVM::ShflOp::create(e.b, e.loc, x.getType(), i32(-1), x, i32(mask), i32(31), NVVM::ShflKind::bfly, UnitAttr());
  }

  std::optional<Atom> atom(Type element, bool exact) const override {
    if (element.isBF16() || element.isF16())
      return halfAtom(element);
    // Exact f32 products are sums of single ones.
    return exact || !chip.tf32 ? std::nullopt : std::optional(tf32Atom(element));
  }

  bool loadsMatrices(Type element) const override { return chip.ldmatrix && (element.isBF16() || element.isF16()); }

  SmallVector<Value> loadMatrices(Emitter &e, Value address, int64_t count, bool transposed) const override {
    Type i32 = e.b.getI32Type();
    Type type = count == 1 ? i32 : Type(LLVM::LLVMStructType::getLiteral(e.b.getContext(), SmallVector<Type>(count, i32)));
    Value loaded =
        NVVM::LdMatrixOp::create(e.b, e.loc, type, address, static_cast<uint32_t>(count), transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row,
                                 NVVM::LdStMatrixShapeAttr::get(e.b.getContext(), 8, 8), NVVM::LdStMatrixEltType::B16);
    if (count == 1)
      return {loaded};
    SmallVector<Value> matrices;
    for (int64_t i = 0; i < count; ++i)
      matrices.push_back(LLVM::ExtractValueOp::create(e.b, e.loc, loaded, i));
    return matrices;
  }

  bool storesMatrices(Type element) const override { return chip.stmatrix && (element.isBF16() || element.isF16()); }

  void storeMatrices(Emitter &e, Value address, ValueRange matrices, bool transposed) const override {
    NVVM::StMatrixOp::create(e.b, e.loc, address, matrices, transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row,
                             NVVM::LdStMatrixShapeAttr::get(e.b.getContext(), 8, 8), NVVM::LdStMatrixEltType::B16);
  }

  bool synchronisesWarps() const override { return true; }
  void warpBarrier(Emitter &e) const override {
    Value all = arith::ConstantOp::create(e.b, e.loc, e.b.getI32IntegerAttr(-1));
    NVVM::SyncWarpOp::create(e.b, e.loc, all);
  }

  bool copiesAsync() const override { return chip.asyncCopy; }

  void copyAsync(Emitter &e, Value to, Value from, int64_t bytes, Value inside) const override {
    Value size;
    if (inside) {
      auto i32 = [&](int64_t value) { return arith::ConstantOp::create(e.b, e.loc, e.b.getI32IntegerAttr(value)); };
      size = arith::SelectOp::create(e.b, e.loc, inside, i32(bytes), i32(0));
    }
    auto through = bytes == 16 ? NVVM::LoadCacheModifierKind::CG : NVVM::LoadCacheModifierKind::CA;
    NVVM::CpAsyncOp::create(e.b, e.loc, to, from, static_cast<uint32_t>(bytes), through, size);
  }

  void waitForCopies(Emitter &e) const override {
    NVVM::CpAsyncCommitGroupOp::create(e.b, e.loc);
    NVVM::CpAsyncWaitGroupOp::create(e.b, e.loc, 0);
  }

  Value rounded(Emitter &e, Value x) const override {
    // Earlier chips have ties away from zero alone, which becomes three instructions.
    auto mode = chip.roundsTF32 ? NVVM::FPRoundingMode::RN : NVVM::FPRoundingMode::RNA;
    Value bits = NVVM::ConvertFloatToTF32Op::create(e.b, e.loc, e.b.getI32Type(), x, mode);
    return LLVM::BitcastOp::create(e.b, e.loc, x.getType(), bits);
  }

  SmallVector<Value> multiply(Emitter &e, const Atom &atom, ValueRange a, ValueRange b, ValueRange c) const override {
    bool half = atom.element.isF16(), tf32 = atom.element.isF32();
    auto pack = [&](ValueRange pieces) {
      return llvm::map_to_vector(pieces, [&](Value x) { return half ? x : LLVM::BitcastOp::create(e.b, e.loc, e.b.getI32Type(), x).getResult(); });
    };
    auto type = tf32 ? NVVM::MMATypes::tf32 : half ? NVVM::MMATypes::f16 : NVVM::MMATypes::bf16;
    auto result = LLVM::LLVMStructType::getLiteral(e.b.getContext(), SmallVector<Type>(4, e.b.getF32Type()));
    auto product = NVVM::MmaOp::create(e.b, e.loc, result, pack(a), pack(b), c, ArrayRef<int64_t>{atom.m, atom.n, atom.k}, std::nullopt, std::nullopt,
                                       std::array{type, type}, std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
    SmallVector<Value> sums;
    for (int64_t i = 0; i < 4; ++i)
      sums.push_back(LLVM::ExtractValueOp::create(e.b, e.loc, product, i));
    return sums;
  }
};
} // namespace

std::unique_ptr<Target> createTarget(const Chip &chip, MLIRContext *) { return std::make_unique<NVIDIATarget>(chip); }

} // namespace fla::nvidia
