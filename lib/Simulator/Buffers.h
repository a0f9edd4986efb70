//===- Buffers.h - buffers of global memory and their shadow ----*- C++ -*-===//
#ifndef FLA_LIB_SIMULATOR_BUFFERS_H
#define FLA_LIB_SIMULATOR_BUFFERS_H

#include "fla/Simulator/Simulator.h"

#include <atomic>

namespace fla::sim {

/// A buffer starts in the middle of a range of addresses of its own, so that
/// whatever misses it is still known to be about it.
inline constexpr unsigned bufferBits = 40;
inline constexpr uint64_t bufferStart = uint64_t(1) << (bufferBits - 1);

struct Memory::Buffer {
  uint8_t *data;
  size_t bytes;
  uint64_t address;
  std::string name;
  bool writable;
  /// A byte each; empty if all are initialised.
  std::vector<uint8_t> initialised;
  /// The last write to each byte in this launch: block, epoch and thread; 0: none.
  std::unique_ptr<std::atomic<uint64_t>[]> writers;

  /// Block (21 bits), barriers passed (32 bits, its low ones), thread + 1 (11 bits).
  static uint64_t writer(int64_t block, uint32_t epoch, unsigned thread) { return uint64_t(block) << 43 | uint64_t(epoch) << 11 | (thread + 1); }
};

} // namespace fla::sim

#endif // FLA_LIB_SIMULATOR_BUFFERS_H
