//===- Launch.cpp - runs a kernel over its grid ---------------------------===//
#include "fla/Runtime/Launch.h"
#include "fla/Runtime/ThreadPool.h"

#include <algorithm>
#include <atomic>
#include <vector>

namespace fla::runtime {
namespace {

/// The number of a sequence's state, negative where the sequence is skipped.
int64_t stateOf(int64_t n, const Shape &shape) { return shape.stateIndices ? shape.stateIndices[n] : n; }

/// One sequence and the grid points (chunks, or 1) that it has for a head and block.
struct Sequence {
  GridPoint point;
  int64_t chunks;
};

std::vector<Sequence> sequencesOf(const Kernel &kernel, const Shape &shape) {
  std::vector<Sequence> all;
  for (int64_t n = 0; n < shape.numSequences; ++n) {
    int64_t state = stateOf(n, shape);
    if (state < 0)
      continue;
    bool packed = shape.cuSeqlens != nullptr;
    int64_t first = packed ? shape.cuSeqlens[n] : 0;
    int64_t rows = packed ? shape.cuSeqlens[n + 1] - first : shape.tokens;
    int64_t batch = packed ? 0 : n;
    int64_t slot = firstSlot(batch * shape.tokens + first, n, kernel.chunk);
    int64_t chunks = kernel.overChunks ? (rows + kernel.chunk - 1) / kernel.chunk : 1;
    all.push_back({{state, batch, first, rows, slot, 0, 0, 0}, chunks});
  }
  return all;
}

} // namespace

static std::string checkIndices(const Shape &shape) {
  for (int64_t n = 0; shape.stateIndices && n < shape.numSequences; ++n)
    if (shape.stateIndices[n] >= shape.numStates)
      return "expected state_indices below " + std::to_string(shape.numStates) + ", got " + std::to_string(shape.stateIndices[n]);
  return "";
}

std::string checkShape(const Shape &shape) {
  if (shape.batch < 0 || shape.tokens < 0 || shape.heads < 0 || shape.numSequences < 0 || shape.numStates < 0)
    return "expected sizes that are not negative";
  if (std::string problem = checkIndices(shape); !problem.empty())
    return problem;
  if (!shape.cuSeqlens)
    return shape.numSequences == shape.batch ? "" : "expected as many sequences as batch entries without cu_seqlens";
  if (shape.batch != 1)
    return "expected batch 1 with cu_seqlens, got " + std::to_string(shape.batch);
  if (shape.cuSeqlens[0] != 0)
    return "expected cu_seqlens to start at 0, got " + std::to_string(shape.cuSeqlens[0]);
  for (int64_t n = 0; n < shape.numSequences; ++n)
    if (shape.cuSeqlens[n + 1] < shape.cuSeqlens[n])
      return "expected cu_seqlens not to fall, got " + std::to_string(shape.cuSeqlens[n]) + " before " + std::to_string(shape.cuSeqlens[n + 1]);
  int64_t end = shape.cuSeqlens[shape.numSequences];
  return end <= shape.tokens ? "" : "expected cu_seqlens to end at most at " + std::to_string(shape.tokens) + ", got " + std::to_string(end);
}

bool launch(const Kernel &kernel, const Buffer *buffers, const Shape &shape, int64_t threads) {
  std::vector<Sequence> sequences = sequencesOf(kernel, shape);
  // Grid points before each sequence, so that a task finds its own by search.
  std::vector<int64_t> before{0};
  int64_t columns = shape.heads * kernel.blocks;
  for (const Sequence &sequence : sequences)
    before.push_back(before.back() + sequence.chunks * columns);
  std::atomic<bool> enough{true};
  parallelFor(before.back(), threads, [&](int64_t task) {
    void *workspace = threadWorkspace(std::max<int64_t>(kernel.workspaceBytes, 64));
    if (!workspace) {
      enough = false;
      return;
    }
    size_t n = std::upper_bound(before.begin(), before.end(), task) - before.begin() - 1;
    GridPoint point = sequences[n].point;
    int64_t rest = task - before[n];
    point.block = rest % kernel.blocks;
    point.head = rest / kernel.blocks % shape.heads;
    point.chunk = rest / columns;
    kernel.function(buffers, &point, workspace);
  });
  return enough;
}

} // namespace fla::runtime
