//===- Atoms.h - MFMA, WMMA and what else a kernel needs --------*- C++ -*-===//
#ifndef FLA_LIB_TARGET_AMD_ATOMS_H
#define FLA_LIB_TARGET_AMD_ATOMS_H

#include "../GPU/Target.h"

namespace fla::amd {
std::unique_ptr<gpu::Target> createTarget(const gpu::Chip &chip, mlir::MLIRContext *context);
} // namespace fla::amd

#endif
