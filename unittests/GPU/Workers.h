//===- Workers.h - tasks in processes of their own --------------*- C++ -*-===//
#ifndef FLA_UNITTESTS_GPU_WORKERS_H
#define FLA_UNITTESTS_GPU_WORKERS_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include <cstddef>
#include <string>

namespace fla::testing {

/// Runs tasks 0 .. count-1, each in a forked process, `jobs` at once. A task
/// prints lines through the function that it is given; `onLine` sees them here.
/// `onEnd` is told how a task ended: empty, or what became of its process (a
/// signal, more than `limit` seconds).
void runTasks(size_t count, unsigned jobs, unsigned limit, llvm::function_ref<void(size_t, llvm::function_ref<void(const std::string &)>)> task,
              llvm::function_ref<void(size_t, const std::string &)> onLine, llvm::function_ref<void(size_t, const std::string &)> onEnd);

} // namespace fla::testing

#endif
