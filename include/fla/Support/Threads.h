//===- Threads.h - work side by side, on threads of its own -----*- C++ -*-===//
#ifndef FLA_SUPPORT_THREADS_H
#define FLA_SUPPORT_THREADS_H

#include "llvm/ADT/STLFunctionalExtras.h"

#include <cstddef>
#include <cstdint>

namespace fla {

/// Calls `work` for each index below `count`, in this order, on at most `threads` threads,
/// of which the caller's is one. For compilers: threads that run kernels on the CPU round
/// subnormal numbers to zero, and a compiler folds constants.
void forEachOnThreads(size_t count, int64_t threads, llvm::function_ref<void(size_t)> work);

} // namespace fla

#endif
