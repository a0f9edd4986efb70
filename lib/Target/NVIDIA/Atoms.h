//===- Atoms.h - mma.sync and what else a kernel needs ----------*- C++ -*-===//
#ifndef FLA_LIB_TARGET_NVIDIA_ATOMS_H
#define FLA_LIB_TARGET_NVIDIA_ATOMS_H

#include "../GPU/Target.h"

namespace fla::nvidia {
std::unique_ptr<gpu::Target> createTarget(const gpu::Chip &chip, mlir::MLIRContext *context);
} // namespace fla::nvidia

#endif
