//===- Launch.h - runs a kernel over its grid -------------------*- C++ -*-===//
#ifndef FLA_RUNTIME_LAUNCH_H
#define FLA_RUNTIME_LAUNCH_H

#include "fla/Runtime/Kernel.h"

#include <string>

namespace fla::runtime {

/// Run-time sizes; with `cuSeqlens` (numSequences+1 offsets) the sequences are
/// packed along the time of batch entry 0, otherwise numSequences == batch. With
/// `stateIndices` (one a sequence) sequence n has the state of that number out of
/// `numStates`; a negative one skips the sequence.
struct Shape {
  int64_t batch = 1, tokens = 0, heads = 1, numSequences = 1;
  const int64_t *cuSeqlens = nullptr;
  const int64_t *stateIndices = nullptr;
  int64_t numStates = 0;
};

/// A kernel that can be launched.
struct Kernel {
  KernelFn function = nullptr;
  int64_t chunk = 1, blocks = 1;
  bool overChunks = false;
  int64_t workspaceBytes = 0;
};

/// First chunk slot of sequence n whose first row (counted over the flattened
/// batch) is `row`; slots of different sequences never meet.
inline int64_t firstSlot(int64_t row, int64_t n, int64_t chunk) { return row / chunk + n; }
/// Number of chunk slots that a `saved` buffer needs.
inline int64_t numSlots(const Shape &shape, int64_t chunk) { return shape.batch * shape.tokens / chunk + shape.numSequences; }

/// Problems of a shape as a sentence (offsets that fall or leave the tokens,
/// indices beyond the states, negative sizes, ...); empty when there are none.
std::string checkShape(const Shape &shape);

/// Runs the kernel for every sequence, head and block (and chunk, if it is
/// `overChunks`). False when there is no memory for the workspace.
bool launch(const Kernel &kernel, const Buffer *buffers, const Shape &shape, int64_t threads);

} // namespace fla::runtime

#endif
