//===- Device.h - GPU drivers, opened at run time ---------------*- C++ -*-===//
//
// One interface over the driver APIs of the GPU vendors. A driver library is
// opened when a program first runs on a device of its kind: nothing links to it,
// nothing needs its headers, and a process without a GPU never looks for it.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_RUNTIME_DEVICE_H
#define FLA_RUNTIME_DEVICE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace fla::runtime {

/// Code as a driver loads it.
struct DeviceCode {
  std::string vendor; ///< cuda, hip
  std::string chip;   ///< what it was compiled for: sm_90, gfx942
  std::string format; ///< ptx, cubin, hsaco
  std::string bytes;
};

/// A kernel of a module and how it is launched.
struct DeviceKernel {
  std::string name;
  int64_t threads = 1; ///< threads a block
  int64_t shared = 0;  ///< bytes of dynamic shared memory that a launch names
  int64_t chunk = 1, blocks = 1;
  bool overChunks = false;
  std::vector<int64_t> arguments; ///< its buffers, as indices into the program's arguments
};

/// A kernel in a context, and what one run of it takes.
struct DeviceLaunch {
  void *function;
  const DeviceKernel *kernel;
  int64_t grid;      ///< blocks, at least one
  void **parameters; ///< where each parameter lies, until the launch returns
};

/// Zero where a driver does not say.
struct DeviceLimits {
  int64_t threads = 0; ///< threads a block
  int64_t shared = 0;  ///< bytes of shared memory a block
};

/// A context that is current on the calling thread. `id` tells contexts apart,
/// for what is loaded into one; `previous` is the driver's own note for leaving.
struct DeviceVisit {
  uint64_t id = 0;
  bool entered = false;
  int64_t previous = 0;
};

/// A vendor's driver. Thread-safe. Errors name the call that failed, the driver's
/// own text and, where there is one, the remedy.
class DeviceDriver {
public:
  /// The driver for "cuda" or "hip", opened and initialised at its first use.
  static llvm::Expected<DeviceDriver *> get(llvm::StringRef vendor);
  virtual ~DeviceDriver() = default;

  /// Name of a device's instruction set, for instance sm_90 or gfx942.
  virtual llvm::Expected<std::string> chip(int64_t device) = 0;
  virtual llvm::Expected<DeviceLimits> limits(int64_t device) = 0;
  /// Whether a device of the chip `device` runs code in this form.
  virtual bool accepts(const DeviceCode &code, llvm::StringRef device) const = 0;

  /// Makes the device's context current: the caller's, if it is one of this
  /// device, else the device's primary one until `leave`.
  virtual llvm::Expected<DeviceVisit> enter(int64_t device) = 0;
  virtual void leave(const DeviceVisit &visit) = 0;

  /// Into the current context. Allowed while a stream is being captured.
  virtual llvm::Expected<void *> loadModule(const DeviceCode &code) = 0;
  /// From the context `id`; silent where that context is gone.
  virtual void unloadModule(uint64_t id, void *module) = 0;
  virtual llvm::Expected<void *> function(void *module, const DeviceKernel &kernel) = 0;

  /// Starts a kernel on a stream and returns at once.
  virtual llvm::Error launch(const DeviceLaunch &launch, void *stream) = 0;

  /// Whether `replay` may be used on a stream now; false for drivers without it.
  virtual bool replays(void *stream) { return false; }
  /// The launches in order, in the current context, as something to replay; null if the driver refuses.
  virtual void *record(llvm::ArrayRef<DeviceLaunch> launches) { return nullptr; }
  /// Starts the recorded kernels on a stream with the grids and parameters of these launches,
  /// and returns at once. False if the driver refuses; nothing has started then.
  virtual bool replay(void *recording, llvm::ArrayRef<DeviceLaunch> launches, void *stream) { return false; }
  /// Of the context `id`; silent where that is gone.
  virtual void forget(uint64_t id, void *recording) {}

  /// Copies to the host and waits for it.
  virtual llvm::Error read(void *to, const void *from, int64_t bytes, void *stream) = 0;
  virtual bool isCapturing(void *stream) = 0;
};

} // namespace fla::runtime

#endif
