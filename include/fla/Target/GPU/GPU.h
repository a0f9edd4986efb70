//===- GPU.h - code for GPUs ------------------------------------*- C++ -*-===//
//
// From tile kernels to code that a GPU's driver loads. What the kernels take is
// said in fla/Runtime/DeviceProgram.h.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_TARGET_GPU_GPU_H
#define FLA_TARGET_GPU_GPU_H

#include "fla/Target/GPU/Chip.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

#include <string>
#include <vector>

namespace fla::gpu {

/// One compiled kernel, as the runtime launches it.
struct KernelInfo {
  std::string name;
  int64_t threads = 0;     ///< threads a block
  int64_t shared = 0;      ///< bytes of dynamic shared memory that a launch names
  int64_t chunk = 1;       ///< tokens of a chunk
  int64_t blocks = 1;      ///< column blocks of the grid
  bool overChunks = false; ///< the grid runs over chunks too
};

/// Code of a module of kernels.
struct DeviceCode {
  std::vector<KernelInfo> kernels;
  std::string format; ///< ptx, cubin, hsaco
  std::string bytes;
};

/// Lowers a module of `tile.kernel`s (left unchanged) to code for a chip (sm_90,
/// gfx942). Problems are reported as diagnostics at the kernel.
mlir::FailureOr<DeviceCode> compileToDevice(mlir::ModuleOp module, llvm::StringRef chip);

/// The operands that a module's products take: bf16, f16, tf32 or f32, from what the
/// first per-token argument is stored in and the module's `fla.precision`.
std::string operandsOf(mlir::ModuleOp module);
/// The layout phase, and from there to device form (see Serialize.h).
void buildLayoutPasses(mlir::OpPassManager &pm, llvm::StringRef chip, llvm::StringRef precision);
void buildTargetPasses(mlir::OpPassManager &pm, llvm::StringRef chip);
/// Both on a copy of a module of `tile.kernel`s.
mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>> lowerToDeviceForm(mlir::ModuleOp module, llvm::StringRef chip);
/// The layouts of the chip's products as `fla-assign-layouts` takes them; empty if it has none.
struct AtomTexts {
  std::string accumulator, left, right;
};
AtomTexts atomOf(const Chip &chip, llvm::StringRef multiply, mlir::MLIRContext *context);

} // namespace fla::gpu

namespace fla {
#define GEN_PASS_DECL
#include "fla/Target/GPU/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "fla/Target/GPU/Passes.h.inc"
} // namespace fla

#endif
