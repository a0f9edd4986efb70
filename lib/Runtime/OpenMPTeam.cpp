//===- OpenMPTeam.cpp - the OpenMP threads that the process has already ---===//
//
// GNU's and LLVM's runtimes both export GOMP_parallel. Only a library that is
// loaded already counts: this one never brings a second runtime in.
//
//===----------------------------------------------------------------------===//
#include "OpenMPTeam.h"

#include <atomic>
#include <mutex>
#include <string_view>

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>

namespace fla::runtime {
namespace {

using Parallel = void (*)(void (*)(void *), void *, unsigned, unsigned);

std::atomic<Parallel> team{nullptr};
std::atomic<bool> forked{false};

/// Stops at the first loaded library that looks like an OpenMP runtime and has
/// the entry point.
int inspect(dl_phdr_info *library, size_t, void *result) {
  std::string_view path = library->dlpi_name ? library->dlpi_name : "";
  std::string_view name = path.substr(path.rfind('/') + 1);
  if (name.substr(0, 7) != "libgomp" && name.substr(0, 6) != "libomp" && name.substr(0, 7) != "libiomp")
    return 0;
  void *handle = dlopen(library->dlpi_name, RTLD_LAZY | RTLD_NOLOAD);
  if (!handle)
    return 0;
  // The reference is kept: the runtime must not go while its address is known.
  return (*static_cast<void **>(result) = dlsym(handle, "GOMP_parallel")) != nullptr;
}

/// Looks again on each call until there is one: PyTorch may be imported later.
Parallel find() {
  if (Parallel known = team.load(std::memory_order_relaxed))
    return known;
  void *symbol = nullptr;
  dl_iterate_phdr(inspect, &symbol);
  team.store(reinterpret_cast<Parallel>(symbol), std::memory_order_relaxed);
  return reinterpret_cast<Parallel>(symbol);
}

} // namespace

bool runOnOpenMPTeam(int64_t threads, void (*body)(void *), void *data) {
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { forked = true; }); });
  Parallel parallel = forked ? nullptr : find();
  if (!parallel)
    return false;
  parallel(body, data, threads, 0);
  return true;
}

} // namespace fla::runtime
