//===- SharedMemory.h - a block's shared memory and its shadow --*- C++ -*-===//
//
// Each byte remembers who wrote and read it last and when. Time is a stamp that
// every barrier advances: an access races with an earlier one of another thread
// if it carries a stamp not older than the last barrier that orders the two:
// the block's, or, for threads of one warp, the warp's if that came later.
//
//   stamp 7   thread 3 (warp 0) writes byte 16       write = (7, thread 3)
//   stamp 8   barrier of warp 0                      warpSync[0] = 8
//   stamp 8   thread 5 (warp 0) reads it             7 < 8: ordered
//   stamp 8   thread 40 (warp 1) reads it            7 >= blockSync: race
//
// The four bytes of a word share their shadow until an access touches fewer of
// them; a write of all four makes them one again. (A write forgets who read
// before: it was checked against them, and later writes are checked against it.)
//
//===----------------------------------------------------------------------===//
#ifndef FLA_LIB_SIMULATOR_SHAREDMEMORY_H
#define FLA_LIB_SIMULATOR_SHAREDMEMORY_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fla::sim {

/// What may be wrong with an access, worst first.
enum class Fault { None, Pending, Uninitialised, WriteAfterWrite, ReadAfterWrite, WriteAfterRead };

class SharedMemory {
public:
  SharedMemory(size_t bytes, unsigned threads, unsigned lanes);

  /// A block begins: nothing is initialised.
  void reset();
  size_t size() const { return bytes.size(); }
  uint8_t *data() { return bytes.data(); }

  /// Checks and records that a thread reads [at, at + count).
  Fault read(uint32_t at, unsigned count, unsigned thread);
  /// Checks, records and stores: `site` tells which operation writes.
  Fault write(uint32_t at, unsigned count, const uint8_t *from, unsigned thread, uint32_t site);
  /// An asynchronous copy is under way to these bytes: reading them is an error until it lands.
  Fault beginCopy(uint32_t at, unsigned count, unsigned thread, uint32_t site);
  void landCopy(uint32_t at, unsigned count, const uint8_t *from, unsigned thread, uint32_t site);

  void syncBlock();
  void syncWarp(unsigned warp) { warpSync[warp] = ++stamp; }

  /// After a fault: where, by which other thread, and that thread's operation if it wrote.
  uint32_t faultByte = 0;
  unsigned faultThread = 0;
  uint32_t faultSite = 0;

private:
  /// Stamp above, thread + 1 in the low 11 bits; 0: none.
  using Visit = uint32_t;
  static constexpr unsigned threadBits = 11;
  static constexpr uint32_t lastStamp = 1u << 20;
  struct Shadow {
    Visit write = 0;
    Visit read = 0;      ///< the last one
    Visit otherRead = 0; ///< the last one of a warp other than the last reader's
    uint32_t site = 0;
    bool initialised = false;
    bool manyReaders = false; ///< other lanes of the last reader's warp read it since their barrier
    uint8_t pending = 0;
  };

  Visit visit(unsigned thread) const { return stamp << threadBits | (thread + 1); }
  static unsigned threadOf(Visit visit) { return (visit & ((1u << threadBits) - 1)) - 1; }
  static uint32_t stampOf(Visit visit) { return visit >> threadBits; }
  uint32_t lastSync(unsigned warp) const { return warpSync[warp] > blockSync ? warpSync[warp] : blockSync; }
  unsigned warpOf(unsigned thread) const { return thread >> laneBits; }
  bool unordered(Visit earlier, unsigned thread) const;
  bool readersUnordered(const Shadow &shadow, unsigned thread) const;
  void noteRead(Shadow &shadow, unsigned thread);
  Fault blame(Fault fault, uint32_t byte, Visit by, uint32_t site);
  Fault checkRead(const Shadow &shadow, uint32_t byte, unsigned thread);
  Fault checkWrite(const Shadow &shadow, uint32_t byte, unsigned thread);
  /// Calls f(shadow, first byte, bytes) for the shadows of [at, at + count).
  template <class F> void forShadows(uint32_t at, unsigned count, F f);
  /// Sets the shadows of [at, at + count), words as wholes where they lie inside.
  template <class F> void setShadows(uint32_t at, unsigned count, F f);

  std::vector<uint8_t> bytes;
  std::vector<Shadow> wordShadows, byteShadows;
  std::vector<uint8_t> isSplit; ///< of each word: whether its bytes have shadows of their own
  std::vector<uint32_t> warpSync;
  uint32_t blockSync = 0, stamp = 0;
  unsigned laneBits;
};

} // namespace fla::sim

#endif // FLA_LIB_SIMULATOR_SHAREDMEMORY_H
