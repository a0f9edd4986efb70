//===- Knobs.h - every environment variable, in one place -------*- C++ -*-===//
//
// | Variable         | Default             | Meaning                                      |
// |------------------|---------------------|----------------------------------------------|
// | FLA_CACHE        | 1                   | 0: neither read nor write the on-disk cache  |
// | FLA_CACHE_DIR    | XDG_CACHE_HOME/fla, | folder of the on-disk cache                  |
// |                  | else ~/.cache/fla   |                                              |
// | FLA_CACHE_MB     | 512                 | size above which old entries are removed     |
// | FLA_NUM_THREADS  | all of this process | threads of a launch that does not name any   |
// | FLA_DUMP_DIR     | (none)              | folder that receives the IR of every phase   |
// | CUDA_HOME        | (none)              | a CUDA toolkit, whose bin/ptxas comes first  |
// | FLA_CUDA_DRIVER  | libcuda.so.1        | path of NVIDIA's driver library              |
// | FLA_HIP_DRIVER   | libamdhip64.so      | path of AMD's HIP runtime                    |
// | FLA_CHECK_OFFSETS| 0                   | 1: wait for and check the values of a GPU    |
// |                  |                     | call's cu_seqlens and state_indices (not     |
// |                  |                     | while capturing)                             |
// | FLA_REPLAY       | 1                   | 0: start each kernel of a GPU program by     |
// |                  |                     | itself, not as a recording of all (so does   |
// |                  |                     | CUDA_LAUNCH_BLOCKING=1)                      |
//
// Read afresh at each call, so that a test can change them. Nothing else in the
// project calls getenv.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_SUPPORT_KNOBS_H
#define FLA_SUPPORT_KNOBS_H

#include <cstdint>
#include <string>

namespace fla::knobs {

/// FLA_CACHE.
bool useCache();
/// FLA_CACHE_DIR, or its default; empty when there is no home either.
std::string cacheDirectory();
/// FLA_CACHE_MB in bytes.
int64_t cacheBytes();
/// FLA_NUM_THREADS; at least 1.
int64_t numThreads();
/// FLA_DUMP_DIR; empty for none.
std::string dumpDirectory();
/// CUDA_HOME; empty for none.
std::string cudaHome();
/// FLA_CUDA_DRIVER; empty for the system's.
std::string cudaDriver();
/// FLA_HIP_DRIVER; empty for the system's.
std::string hipDriver();
/// FLA_CHECK_OFFSETS.
bool checkOffsets();
/// FLA_REPLAY, unless launches are to be waited for one by one.
bool replayLaunches();

} // namespace fla::knobs

#endif
