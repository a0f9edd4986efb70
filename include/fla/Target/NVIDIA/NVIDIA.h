//===- NVIDIA.h - PTX and cubins --------------------------------*- C++ -*-===//
#ifndef FLA_TARGET_NVIDIA_NVIDIA_H
#define FLA_TARGET_NVIDIA_NVIDIA_H

#include "fla/Target/GPU/Serialize.h"

namespace fla::nvidia {

const gpu::Backend &backend();

/// `gpu::compileDevice` for NVIDIA. A cubin needs ptxas, PTX nothing.
mlir::FailureOr<gpu::GPUCode> compileDevice(mlir::ModuleOp deviceForm, const gpu::Chip &chip, bool binary);

/// ptxas of CUDA_HOME, PATH or /usr/local/cuda, in this order; empty if there is none.
std::string findPtxas();

/// Assembles PTX to a cubin with ptxas and fills in what it says of the kernels.
/// Problems are diagnostics at `location`.
mlir::FailureOr<std::string> assemble(llvm::StringRef ptx, const gpu::Chip &chip, std::vector<gpu::KernelResources> &kernels,
                                      mlir::Location location);

/// Reads the output of `ptxas -v` into `kernels`.
void readPtxasReport(llvm::StringRef report, std::vector<gpu::KernelResources> &kernels);

} // namespace fla::nvidia

#endif
