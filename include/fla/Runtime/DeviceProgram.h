//===- DeviceProgram.h - kernels on a GPU -----------------------*- C++ -*-===//
//
// Each kernel takes 64-bit scalars alone. For each of its buffers five:
//
//   data (null if absent), strides of batch, token and head in elements, group
//
// and then six for the launch: tokens, heads, sequences, cu_seqlens (a device
// pointer to int64 offsets, null when the sequences are not packed), state_indices
// (a device pointer to one int64 a sequence, null when sequence n has state n) and
// the number of states; a sequence whose index is no state's is skipped. The grid has
// one axis; block b of head h of sequence n is (n * heads + h) * blocks + b. A
// kernel over chunks counts chunk slots (Launch.h) in place of sequences.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_RUNTIME_DEVICEPROGRAM_H
#define FLA_RUNTIME_DEVICEPROGRAM_H

#include "fla/Runtime/Device.h"
#include "fla/Runtime/Launch.h"

#include "llvm/ADT/ArrayRef.h"

#include <atomic>
#include <map>
#include <memory>
#include <shared_mutex>

namespace fla::runtime {

class Replays;

/// Device code and its kernels, loaded into a context at the first run there.
class DeviceProgram {
public:
  DeviceProgram(DeviceCode code, std::vector<DeviceKernel> kernels);
  ~DeviceProgram();
  DeviceProgram(const DeviceProgram &) = delete;

  /// Launches all kernels in order on a stream of `device`, and returns without
  /// waiting. `buffers` are the program's arguments; `shape.cuSeqlens`, `shape.stateIndices`
  /// and all data are device pointers and never read here. An empty grid launches nothing.
  llvm::Error run(llvm::ArrayRef<Buffer> buffers, const Shape &shape, int64_t device, void *stream);

  /// What the first run on a device does before it launches.
  llvm::Error prepare(int64_t device);

  /// cuda:sm_90.
  std::string target() const { return code.vendor + ":" + code.chip; }

private:
  struct Loaded {
    void *module = nullptr;
    std::vector<void *> functions; ///< one a kernel
    std::unique_ptr<Replays> replays;
  };
  llvm::Error inContext(int64_t device, llvm::function_ref<llvm::Error(const Loaded &)> work);
  llvm::Expected<DeviceDriver *> openDriver();
  llvm::Expected<const Loaded *> loadedAt(uint64_t context, int64_t device);
  llvm::Expected<Loaded> load(uint64_t context, int64_t device);
  llvm::Error checkValues(const Shape &shape, void *stream);

  DeviceCode code;
  std::vector<DeviceKernel> kernels;
  std::atomic<DeviceDriver *> driver = nullptr;
  std::shared_mutex mutex; ///< of `contexts`
  std::map<uint64_t, Loaded> contexts;
};

/// Blocks of a launch: gridDim.x.
int64_t deviceGrid(const DeviceKernel &kernel, const Shape &shape);

} // namespace fla::runtime

#endif
