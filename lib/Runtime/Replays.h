//===- Replays.h - launches that a driver has seen before -------*- C++ -*-===//
//
// To start one kernel costs a driver as much as to start a recording of all kernels
// of a program. A program that comes again on a stream is recorded there.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_RUNTIME_REPLAYS_H
#define FLA_LIB_RUNTIME_REPLAYS_H

#include "fla/Runtime/Device.h"

#include "llvm/ADT/ArrayRef.h"

#include <map>
#include <mutex>

namespace fla::runtime {

/// Of one program in one context. Thread-safe.
class Replays {
public:
  Replays(DeviceDriver &driver, uint64_t context) : driver(driver), context(context) {}
  Replays(const Replays &) = delete;
  ~Replays();

  /// Starts kernels one after another on a stream.
  llvm::Error start(llvm::ArrayRef<DeviceLaunch> launches, void *stream);

private:
  struct OnStream {
    int64_t runs = 0;
    void *recording = nullptr;
    std::vector<void *> functions; ///< those that were recorded
  };
  bool replay(llvm::ArrayRef<DeviceLaunch> launches, void *stream);

  DeviceDriver &driver;
  uint64_t context;
  std::mutex mutex; ///< of all below; a recording is filled and started under it
  std::map<void *, OnStream> streams;
};

} // namespace fla::runtime

#endif
