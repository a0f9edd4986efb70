//===- Threads.cpp - work side by side, on threads of its own -------------===//
#include "fla/Support/Threads.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace fla {

void forEachOnThreads(size_t count, int64_t threads, llvm::function_ref<void(size_t)> work) {
  std::atomic<size_t> next = 0;
  auto drain = [&] {
    for (size_t i; (i = next++) < count;)
      work(i);
  };
  std::vector<std::thread> others;
  for (int64_t i = 1; i < std::min<int64_t>(threads, count); ++i)
    others.emplace_back(drain);
  drain();
  for (std::thread &other : others)
    other.join();
}

} // namespace fla
