//===- Knobs.cpp - the only place that reads the environment --------------===//
#include "fla/Support/Knobs.h"

#include <cstdlib>
#include <sched.h>
#include <string_view>
#include <thread>

namespace fla::knobs {

static std::string text(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

/// A whole number not below `least`; anything else counts as not set.
static int64_t number(const char *name, int64_t fallback, int64_t least) {
  std::string value = text(name);
  char *end = nullptr;
  long long parsed = std::strtoll(value.c_str(), &end, 10);
  return value.empty() || *end || parsed < least ? fallback : parsed;
}

/// Processors this process may use, which a container may have limited.
static int64_t processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
    return CPU_COUNT(&set);
  unsigned all = std::thread::hardware_concurrency();
  return all ? all : 1;
}

bool useCache() { return text("FLA_CACHE") != "0"; }

std::string cacheDirectory() {
  if (std::string folder = text("FLA_CACHE_DIR"); !folder.empty())
    return folder;
  if (std::string base = text("XDG_CACHE_HOME"); !base.empty())
    return base + "/fla";
  std::string home = text("HOME");
  return home.empty() ? "" : home + "/.cache/fla";
}

int64_t cacheBytes() { return number("FLA_CACHE_MB", 512, 0) * 1024 * 1024; }
int64_t numThreads() { return number("FLA_NUM_THREADS", processors(), 1); }
std::string dumpDirectory() { return text("FLA_DUMP_DIR"); }
std::string cudaHome() { return text("CUDA_HOME"); }
std::string cudaDriver() { return text("FLA_CUDA_DRIVER"); }
std::string hipDriver() { return text("FLA_HIP_DRIVER"); }
bool checkOffsets() { return number("FLA_CHECK_OFFSETS", 0, 0) != 0; }
bool replayLaunches() { return number("FLA_REPLAY", 1, 0) != 0 && number("CUDA_LAUNCH_BLOCKING", 0, 0) == 0; }

} // namespace fla::knobs
