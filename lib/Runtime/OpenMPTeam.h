//===- OpenMPTeam.h - the OpenMP threads that the process has already -----===//
#ifndef FLA_LIB_RUNTIME_OPENMPTEAM_H
#define FLA_LIB_RUNTIME_OPENMPTEAM_H

#include <cstdint>

namespace fla::runtime {

/// Calls `body(data)` on `threads` OpenMP threads, the caller's among them, and
/// returns true; false if the process has loaded no OpenMP runtime, or is a
/// forked child of one that did. The workers of PyTorch's team spin for a while
/// after each operator: threads of our own would share the processors with them.
bool runOnOpenMPTeam(int64_t threads, void (*body)(void *), void *data);

} // namespace fla::runtime

#endif
