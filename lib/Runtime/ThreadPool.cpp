//===- ThreadPool.cpp - persistent worker threads -------------------------===//
#include "fla/Runtime/ThreadPool.h"
#include "OpenMPTeam.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include <pthread.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fla::runtime {
namespace {

/// Results below the normal numbers become zero while it lives: decaying states
/// would otherwise spend their tail in slow arithmetic. Subnormal inputs still
/// count. The caller's mode comes back after.
class FlushSubnormals {
public:
#if defined(__x86_64__)
  FlushSubnormals() : saved(_mm_getcsr()) { _mm_setcsr(saved | 0x8000); }
  ~FlushSubnormals() { _mm_setcsr(saved); }

private:
  unsigned saved;
#endif
};

thread_local bool isWorker = false;

/// The tasks of one call: whoever is free takes the next one.
struct Tasks {
  const std::function<void(int64_t)> &task;
  int64_t total;
  std::atomic<int64_t> next{0};

  void drain() {
    FlushSubnormals mode;
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < total;)
      task(i);
  }
};

class Pool {
public:
  ~Pool() {
    {
      std::lock_guard lock(mutex);
      stopping = true;
    }
    wake.notify_all();
    for (std::thread &worker : workers)
      worker.join();
  }

  /// False when another caller has the workers.
  bool run(Tasks &tasks, int64_t threads) {
    std::unique_lock owner(busy, std::try_to_lock);
    if (!owner)
      return false;
    int64_t helpers = grow(std::min(threads, tasks.total) - 1);
    {
      std::lock_guard lock(mutex);
      current = &tasks;
      wanted = active = helpers;
      ++generation;
    }
    wake.notify_all();
    tasks.drain();
    std::unique_lock lock(mutex);
    finished.wait(lock, [&] { return active == 0; });
    return true;
  }

private:
  /// Starts workers up to `count`; fewer when the system refuses threads.
  int64_t grow(int64_t count) {
    while (static_cast<int64_t>(workers.size()) < count) {
      // The library is compiled without exceptions: probe with pthread_create's
      // own failure through std::thread would end the process, so cap the number.
      if (workers.size() >= 1023)
        break;
      int64_t number = workers.size();
      workers.emplace_back([this, number, seen = generation] { work(number, seen); });
    }
    return std::min<int64_t>(count, workers.size());
  }

  void work(int64_t number, uint64_t seen) {
    isWorker = true;
    std::unique_lock lock(mutex);
    while (true) {
      wake.wait(lock, [&] { return stopping || generation != seen; });
      if (stopping)
        return;
      seen = generation;
      if (number >= wanted)
        continue;
      Tasks &tasks = *current;
      lock.unlock();
      tasks.drain();
      lock.lock();
      if (--active == 0)
        finished.notify_one();
    }
  }

  std::mutex busy, mutex;
  std::condition_variable wake, finished;
  std::vector<std::thread> workers;
  Tasks *current = nullptr;
  int64_t wanted = 0, active = 0;
  uint64_t generation = 0;
  bool stopping = false;
};

/// Never destroyed: its threads may still sleep when the process ends. A forked
/// child has no workers, so it gets a new pool.
std::atomic<Pool *> pool{nullptr};

Pool &thePool() {
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { pool.store(nullptr); }); });
  Pool *existing = pool.load();
  if (existing)
    return *existing;
  Pool *made = new Pool;
  if (pool.compare_exchange_strong(existing, made))
    return *made;
  delete made;
  return *existing;
}

} // namespace

void parallelFor(int64_t count, int64_t threads, const std::function<void(int64_t)> &task) {
  if (count <= 0)
    return;
  Tasks tasks{task, count};
  if (threads > 1 && count > 1 && !isWorker) {
    // Teams keep their size from call to call, whatever the number of tasks.
    if (runOnOpenMPTeam(threads, [](void *data) { static_cast<Tasks *>(data)->drain(); }, &tasks) || thePool().run(tasks, threads))
      return;
  }
  tasks.drain();
}

void *threadWorkspace(int64_t bytes) {
  struct Memory {
    void *data = nullptr;
    int64_t size = 0;
    ~Memory() { std::free(data); }
  };
  static thread_local Memory memory;
  if (memory.size < bytes) {
    std::free(memory.data);
    memory.size = (bytes + 4095) / 4096 * 4096;
    memory.data = std::aligned_alloc(4096, memory.size);
    if (!memory.data)
      memory.size = 0;
  }
  return memory.data;
}

} // namespace fla::runtime
