//===- SerializeCheck.cpp - which chip has which instruction --------------===//
//
// Sources: AMD's ISA guides (CDNA2, CDNA3, CDNA4, RDNA3, RDNA4) and LLVM's
// BuiltinsAMDGPU.def. Operations that no row names are left to LLVM.
//
//===----------------------------------------------------------------------===//
#include "fla/Target/AMD/AMD.h"

#include "mlir/Dialect/LLVMIR/ROCDLDialect.h"
#include "mlir/IR/BuiltinTypes.h"

using namespace mlir;

namespace fla::amd {

namespace {
/// Operations whose name starts so exist on these chips only.
struct Row {
  llvm::StringLiteral prefix, chips;
};
} // namespace

/// The first row that fits counts: longer prefixes come before shorter ones.
static constexpr Row kRows[] = {
    {"rocdl.mfma.f32.16x16x32.bf16", "gfx950"},
    {"rocdl.mfma.f32.16x16x32.f16", "gfx950"},
    {"rocdl.mfma.f32.32x32x16.bf16", "gfx950"},
    {"rocdl.mfma.f32.32x32x16.f16", "gfx950"},
    {"rocdl.mfma.i32.16x16x64.i8", "gfx950"},
    {"rocdl.mfma.i32.32x32x32.i8", "gfx950"},
    {"rocdl.mfma.scale.", "gfx950"},
    {"rocdl.mfma.f32.16x16x8.xf32", "gfx942"},
    {"rocdl.mfma.f32.32x32x4.xf32", "gfx942"},
    {"rocdl.mfma.f32.16x16x32.", "gfx942, gfx950"},
    {"rocdl.mfma.f32.32x32x16.", "gfx942, gfx950"},
    {"rocdl.mfma.i32.16x16x32.i8", "gfx942, gfx950"},
    {"rocdl.mfma.i32.32x32x16.i8", "gfx942, gfx950"},
    {"rocdl.mfma.f32.32x32x4bf16.1k", "gfx90a, gfx942, gfx950"},
    // Those of gfx908, with two inputs a lane.
    {"rocdl.mfma.f32.32x32x2bf16", "gfx90a"},
    {"rocdl.mfma.f32.16x16x2bf16", "gfx90a"},
    {"rocdl.mfma.f32.4x4x2bf16", "gfx90a"},
    {"rocdl.mfma.f32.32x32x4bf16", "gfx90a"},
    {"rocdl.mfma.f32.16x16x8bf16", "gfx90a"},
    {"rocdl.mfma.i32.32x32x8i8", "gfx90a"},
    {"rocdl.mfma.i32.16x16x16i8", "gfx90a"},
    {"rocdl.mfma.", "gfx90a, gfx942, gfx950"},
    {"rocdl.smfmac.", "gfx942, gfx950"},
    {"rocdl.wmma.f32.16x16x16.fp8", "gfx1201"},
    {"rocdl.wmma.f32.16x16x16.bf8", "gfx1201"},
    {"rocdl.wmma.f32.16x16x16.", "gfx1100, gfx1201"},
    {"rocdl.wmma.f16.16x16x16.", "gfx1100, gfx1201"},
    {"rocdl.wmma.bf16.16x16x16.", "gfx1100, gfx1201"},
    {"rocdl.wmma.i32.16x16x16.", "gfx1100, gfx1201"},
    {"rocdl.wmma.i32.16x16x32.iu4", "gfx1201"},
    {"rocdl.wmma.", ""},
    {"rocdl.ds.read.tr", "gfx950"},
    {"rocdl.global.load.lds", "gfx942, gfx950"},
    {"rocdl.load.to.lds", "gfx942, gfx950"},
    {"rocdl.raw.ptr.buffer.load.lds", "gfx90a, gfx942, gfx950"},
    {"rocdl.permlane16.swap", "gfx950"},
    {"rocdl.permlane32.swap", "gfx950"},
    {"rocdl.permlanex16", "gfx1100, gfx1201"},
    {"rocdl.s.waitcnt", "gfx90a, gfx942, gfx950, gfx1100"},
    {"rocdl.s.wait.dscnt", "gfx1201"},
    {"rocdl.s.wait.loadcnt", "gfx1201"},
    {"rocdl.s.wait.storecnt", "gfx1201"},
    {"rocdl.s.barrier.signal", "gfx1201"},
    {"rocdl.s.barrier.wait", "gfx1201"},
};

static bool lists(StringRef chips, StringRef chip) {
  llvm::SmallVector<StringRef> names;
  chips.split(names, ", ");
  return llvm::is_contained(names, chip);
}

static LogicalResult checkExists(Operation *op, const gpu::Chip &chip) {
  StringRef name = op->getName().getStringRef();
  const Row *row = llvm::find_if(kRows, [&](const Row &candidate) { return name.starts_with(candidate.prefix); });
  if (row == std::end(kRows) || lists(row->chips, chip.name))
    return success();
  return op->emitError() << "expected an instruction of " << chip.name.str() << ", got '" << name << "', which "
                         << (row->chips.empty() ? "no supported chip has" : "exists on ") << row->chips.str();
}

/// gfx11 wants all 16 inputs of a row in each lane, gfx12 half of them.
static LogicalResult checkWmmaInputs(Operation *op, const gpu::Chip &chip) {
  StringRef name = op->getName().getStringRef();
  bool half = name.ends_with("16x16x16.f16") || name.ends_with("16x16x16.bf16");
  if (!name.starts_with("rocdl.wmma.") || !half)
    return success();
  int64_t expected = chip.matrixUnit == gpu::MatrixUnit::WMMA11 ? 16 : 8;
  for (Value operand : op->getOperands().take_front(2)) {
    auto type = llvm::dyn_cast<VectorType>(operand.getType());
    if (!type || type.getNumElements() != expected)
      return op->emitError() << "expected inputs of " << expected << " elements a lane on " << chip.name.str() << ", got " << operand.getType();
  }
  return success();
}

LogicalResult checkInstructions(ModuleOp deviceForm, const gpu::Chip &chip) {
  WalkResult result = deviceForm.walk([&](Operation *op) -> WalkResult {
    if (!llvm::isa_and_nonnull<ROCDL::ROCDLDialect>(op->getDialect()))
      return WalkResult::advance();
    return failed(checkExists(op, chip)) || failed(checkWmmaInputs(op, chip)) ? WalkResult::interrupt() : WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

} // namespace fla::amd
