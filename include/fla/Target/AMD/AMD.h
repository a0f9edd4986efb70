//===- AMD.h - hsaco, AMD's code objects ------------------------*- C++ -*-===//
#ifndef FLA_TARGET_AMD_AMD_H
#define FLA_TARGET_AMD_AMD_H

#include "fla/Target/GPU/Serialize.h"

namespace fla::amd {

const gpu::Backend &backend();

/// `gpu::compileDevice` for AMD. The linker is built in.
mlir::FailureOr<gpu::GPUCode> compileDevice(mlir::ModuleOp deviceForm, const gpu::Chip &chip, bool binary);

/// Whether the chip has the instruction of each rocdl operation: LLVM's code
/// generator would answer with a fatal error that names no location.
mlir::LogicalResult checkInstructions(mlir::ModuleOp deviceForm, const gpu::Chip &chip);

/// Links a relocatable object to a code object. Problems are diagnostics at `location`.
mlir::FailureOr<std::string> link(llvm::StringRef object, mlir::Location location);

/// Fills in what a code object's notes say of the kernels.
void readCodeObjectNotes(llvm::StringRef codeObject, std::vector<gpu::KernelResources> &kernels, mlir::MLIRContext *context);

} // namespace fla::amd

#endif
