//===- ThreadPool.h - persistent worker threads -----------------*- C++ -*-===//
#ifndef FLA_RUNTIME_THREADPOOL_H
#define FLA_RUNTIME_THREADPOOL_H

#include <cstdint>
#include <functional>

namespace fla::runtime {

/// Calls `task(i)` for every i in [0, count), on at most `threads` threads, the
/// caller's among them, and returns when all are done. Which thread runs which
/// task is decided as they go; tasks must not depend on it. The threads are those
/// of the process's OpenMP runtime (PyTorch's) or, without one, workers that start when
/// first needed, sleep between calls and are started anew in a forked child.
/// Several threads may call at once: whoever finds the workers busy, or is one
/// of them, runs its tasks alone.
void parallelFor(int64_t count, int64_t threads, const std::function<void(int64_t)> &task);

/// Memory of the calling thread, at least `bytes`, 64-byte aligned; valid until
/// the thread's next call. Null when there is none left.
void *threadWorkspace(int64_t bytes);

} // namespace fla::runtime

#endif
