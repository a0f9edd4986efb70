//===- CudaGraph.h - kernels that start together ----------------*- C++ -*-===//
//
// A chain of kernels as an executable graph of CUDA's. New addresses and grids are
// put into its nodes, then one call starts all: docs/Rationale/replayed-launches.md.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_RUNTIME_CUDAGRAPH_H
#define FLA_LIB_RUNTIME_CUDAGRAPH_H

#include "DeviceLibrary.h"

#include <vector>

namespace fla::runtime {

class CudaGraphs {
public:
  /// Leaves `canRecord` false where the driver lacks a function (before CUDA 12).
  void lookUp(const DeviceLibrary &library);
  bool canRecord() const { return create && addKernel && setKernel && instantiate && start && destroy && destroyExecutable && priority; }
  /// Nodes have a priority of their own, not that of the stream that they run on.
  bool isOrdinary(void *stream) const;

  /// In the current context; null if the driver refuses.
  void *record(llvm::ArrayRef<DeviceLaunch> launches) const;
  /// Whether the driver took it. Runs on other streams go on with what they were given.
  bool replay(void *recording, llvm::ArrayRef<DeviceLaunch> launches, void *stream) const;
  void forget(void *recording) const;

private:
  using Result = int;
  using Handle = void *;
  struct Kernel; // CUDA_KERNEL_NODE_PARAMS_v2
  struct Recording;
  static Kernel parametersOf(const DeviceLaunch &launch);
  bool addChain(Recording &recording, Handle graph, llvm::ArrayRef<DeviceLaunch> launches) const;

  Result (*create)(Handle *, unsigned) = nullptr;
  Result (*addKernel)(Handle *, Handle, const Handle *, size_t, const Kernel *) = nullptr;
  Result (*setKernel)(Handle, Handle, const Kernel *) = nullptr;
  Result (*instantiate)(Handle *, Handle, unsigned long long) = nullptr;
  Result (*start)(Handle, Handle) = nullptr;
  Result (*destroy)(Handle) = nullptr;
  Result (*destroyExecutable)(Handle) = nullptr;
  Result (*priority)(Handle, int *) = nullptr;
};

} // namespace fla::runtime

#endif
