//===- ThreadBlock.h - the state of a block that runs -----------*- C++ -*-===//
#ifndef FLA_LIB_SIMULATOR_THREADBLOCK_H
#define FLA_LIB_SIMULATOR_THREADBLOCK_H

#include "Program.h"
#include "Recorder.h"
#include "SharedMemory.h"

namespace fla::sim {

/// Which threads run, all of them within [begin, end).
struct Mask {
  std::vector<uint8_t> active;
  unsigned begin = 0, end = 0, count = 0;

  /// Recomputes the bounds.
  void recount();
};

/// A cp.async that has not landed: its bytes were read when it was issued.
struct AsyncCopy {
  uint32_t to, bytes, site;
  uint8_t data[16];
};

/// A thread's asynchronous copies, oldest first, and where its committed groups end.
struct AsyncQueue {
  std::vector<AsyncCopy> copies;
  std::vector<size_t> groupEnds;
};

class ThreadBlock {
public:
  ThreadBlock(const Program &program, Memory &memory, Recorder &recorder, const SimulateOptions &options, unsigned threads, size_t sharedBytes,
              int64_t gridBlocks);

  void run(int64_t block, llvm::ArrayRef<Argument> arguments);
  void run(const Steps &steps);
  /// Runs steps for fewer threads.
  void run(const Steps &steps, const Mask &only);
  /// Runs the body for those threads that are `inside` after the test, until none is.
  void loop(const Steps &body, Slot inside, llvm::function_ref<void()> test, llvm::function_ref<void()> advance, uint32_t site);

  uint64_t *slot(Slot slot) { return registers.data() + size_t(slot) * threads; }
  bool isActive(unsigned thread) const { return mask->active[thread]; }
  unsigned begin() const { return mask->begin; }
  unsigned end() const { return mask->end; }
  bool allActive() const { return mask->count == threads; }
  /// Active threads where the condition's slot is `value`.
  Mask where(Slot condition, uint64_t value) const;

  unsigned warps() const { return (threads + lanes - 1) / lanes; }
  unsigned warpEnd(unsigned warp) const { return std::min(threads, (warp + 1) * lanes); }
  /// Whether all, some or none of a warp's threads are active.
  enum class Presence { None, Some, All };
  Presence presence(unsigned warp) const;
  /// Calls f(warp, first thread) for each full warp that is active as a whole;
  /// a warp that is there in part gets a divergence error.
  template <class F> void forWarps(uint32_t site, F f) {
    for (unsigned warp = 0; warp < warps(); ++warp)
      if (isWhole(warp, site))
        f(warp, warp * lanes);
  }

  void barrier(uint32_t site);
  void warpBarrier(uint32_t site);

  /// What a thread reads from or writes to memory; null or false if nothing can be accessed.
  const uint8_t *readShared(uint32_t at, unsigned bytes, unsigned alignment, unsigned thread, uint32_t site);
  bool writeShared(uint32_t at, unsigned bytes, unsigned alignment, unsigned thread, uint32_t site, const uint8_t *from);
  const uint8_t *readGlobal(uint64_t at, unsigned bytes, unsigned alignment, unsigned thread, uint32_t site);
  bool writeGlobal(uint64_t at, unsigned bytes, unsigned alignment, unsigned thread, uint32_t site, const uint8_t *from);

  void beginCopy(const AsyncCopy &copy, unsigned thread);
  void commitCopies(unsigned thread);
  /// Lands all but the last `pending` committed groups; all copies if negative.
  void waitCopies(unsigned thread, int pending);

  void error(ErrorKind kind, uint32_t site, unsigned thread, const llvm::Twine &message) { recorder.error(kind, site, id, thread, message); }
  /// Counts conflicts and sectors of the addresses in a slot, for all active threads.
  void countShared(uint32_t site, const uint64_t *addresses, unsigned bytes, bool reads);
  /// Counts the conflicts of accesses that the banks are asked to serve at once.
  void countPhase(uint32_t site, llvm::ArrayRef<uint64_t> addresses, unsigned bytes);
  void countGlobal(uint32_t site, const uint64_t *addresses, unsigned bytes);

  const Program &program;
  Memory &memory;
  Recorder &recorder;
  const SimulateOptions &options;
  const unsigned threads, lanes;
  const int64_t gridBlocks;
  int64_t id = 0;
  bool gaveUp = false;
  SharedMemory shared;

  /// AMD: whether shared memory was touched since the last release fence, and
  /// whether a barrier still waits for its acquire fence.
  bool touchedSinceRelease = false, awaitsAcquire = false;

private:
  /// Whether a warp's addresses are those of the pattern, moved by a multiple of `unit`; keeps them otherwise.
  bool matches(Recorder::Pattern &pattern, unsigned warp, const uint64_t *addresses, unsigned unit) const;
  bool isWhole(unsigned warp, uint32_t site);
  bool checkShared(uint32_t at, unsigned bytes, unsigned alignment, unsigned thread, uint32_t site, bool writes);
  Memory::Buffer *checkGlobal(uint64_t at, unsigned bytes, unsigned alignment, unsigned thread, uint32_t site, bool writes);
  void sharedFault(Fault fault, unsigned thread, uint32_t site, bool writes);

  Mask everyone;
  const Mask *mask;
  std::vector<uint64_t> registers;
  std::vector<AsyncQueue> queues;
  uint64_t executed = 0;
  uint32_t epoch = 0; ///< barriers so far, for races in global memory
};

template <class F> void Compiler::map(Slot target, Slot a, F f) {
  step([=](ThreadBlock &b) {
    uint64_t *to = b.slot(target);
    const uint64_t *x = b.slot(a);
    for (unsigned t = b.begin(), end = b.end(); t < end; ++t)
      to[t] = f(x[t]);
  });
}

template <class F> void Compiler::map(Slot target, Slot a, Slot b, F f) {
  step([=](ThreadBlock &block) {
    uint64_t *to = block.slot(target);
    const uint64_t *x = block.slot(a), *y = block.slot(b);
    for (unsigned t = block.begin(), end = block.end(); t < end; ++t)
      to[t] = f(x[t], y[t]);
  });
}

template <class F> void Compiler::map(Slot target, Slot a, Slot b, Slot c, F f) {
  step([=](ThreadBlock &block) {
    uint64_t *to = block.slot(target);
    const uint64_t *x = block.slot(a), *y = block.slot(b), *z = block.slot(c);
    for (unsigned t = block.begin(), end = block.end(); t < end; ++t)
      to[t] = f(x[t], y[t], z[t]);
  });
}

} // namespace fla::sim

#endif // FLA_LIB_SIMULATOR_THREADBLOCK_H
