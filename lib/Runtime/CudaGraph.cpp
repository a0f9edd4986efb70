//===- CudaGraph.cpp - kernels that start together ------------------------===//
#include "CudaGraph.h"

#include "llvm/ADT/STLExtras.h"

namespace fla::runtime {

struct CudaGraphs::Kernel {
  Handle function;
  unsigned grid[3], block[3], shared;
  void **parameters, **extra;
  Handle kernel, context; // null: `function`, the current one
};

/// An executable graph refers to nodes by those of the graph it was made of.
struct CudaGraphs::Recording {
  Handle graph = nullptr, executable = nullptr;
  std::vector<Handle> nodes;
};

void CudaGraphs::lookUp(const DeviceLibrary &library) {
  library.want("cuGraphCreate", create);
  library.want("cuGraphAddKernelNode_v2", addKernel);
  library.want("cuGraphExecKernelNodeSetParams_v2", setKernel);
  library.want("cuGraphInstantiateWithFlags", instantiate);
  library.want("cuGraphLaunch", start);
  library.want("cuGraphDestroy", destroy);
  library.want("cuGraphExecDestroy", destroyExecutable);
  library.want("cuStreamGetPriority", priority);
}

bool CudaGraphs::isOrdinary(void *stream) const {
  int value = 1;
  return priority(stream, &value) == 0 && value == 0;
}

CudaGraphs::Kernel CudaGraphs::parametersOf(const DeviceLaunch &launch) {
  return {launch.function,
          {static_cast<unsigned>(launch.grid), 1, 1},
          {static_cast<unsigned>(launch.kernel->threads), 1, 1},
          static_cast<unsigned>(launch.kernel->shared),
          launch.parameters,
          nullptr,
          nullptr,
          nullptr};
}

/// One kernel after another.
bool CudaGraphs::addChain(Recording &recording, Handle graph, llvm::ArrayRef<DeviceLaunch> launches) const {
  for (const DeviceLaunch &launch : launches) {
    Handle node = nullptr;
    Kernel kernel = parametersOf(launch);
    const Handle *before = recording.nodes.empty() ? nullptr : &recording.nodes.back();
    if (addKernel(&node, graph, before, before ? 1 : 0, &kernel) != 0)
      return false;
    recording.nodes.push_back(node);
  }
  return instantiate(&recording.executable, graph, 0) == 0;
}

void *CudaGraphs::record(llvm::ArrayRef<DeviceLaunch> launches) const {
  auto recording = std::make_unique<Recording>();
  if (create(&recording->graph, 0) != 0)
    return nullptr;
  if (addChain(*recording, recording->graph, launches))
    return recording.release();
  destroy(recording->graph);
  return nullptr;
}

bool CudaGraphs::replay(void *recording, llvm::ArrayRef<DeviceLaunch> launches, void *stream) const {
  auto &recorded = *static_cast<Recording *>(recording);
  for (auto [node, launch] : llvm::zip_equal(recorded.nodes, launches)) {
    Kernel kernel = parametersOf(launch);
    if (setKernel(recorded.executable, node, &kernel) != 0)
      return false;
  }
  return start(recorded.executable, stream) == 0;
}

void CudaGraphs::forget(void *recording) const {
  std::unique_ptr<Recording> recorded(static_cast<Recording *>(recording));
  destroyExecutable(recorded->executable);
  destroy(recorded->graph);
}

} // namespace fla::runtime
