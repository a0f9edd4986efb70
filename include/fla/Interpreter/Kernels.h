//===- Kernels.h - run tile kernels on buffers in memory --------*- C++ -*-===//
//
// Executes `tile.kernel` operations over their grid, in float64, with the
// addressing that compiled kernels use (fla-c/fla.h, Runtime/Kernel.h): heads in
// groups, packed sequences, chunk slots, buffers that the caller left out.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_INTERPRETER_KERNELS_H
#define FLA_INTERPRETER_KERNELS_H

#include "fla/Dialect/Tile/IR/Tile.h"
#include "llvm/Support/Error.h"
#include <map>
#include <string>
#include <vector>

namespace fla::interp {

/// Run-time sizes. `offsets` are `cu_seqlens`; without them each batch entry is
/// a sequence of `tokens` rows.
struct Launch {
  int64_t batch = 1, tokens = 0, heads = 1;
  std::vector<int64_t> offsets;

  int64_t numSequences() const { return offsets.empty() ? batch : static_cast<int64_t>(offsets.size()) - 1; }
  int64_t numSlots(int64_t chunk) const { return batch * tokens / chunk + numSequences(); }
};

/// A contiguous buffer: [batch, time, heads, inner...] of a token buffer,
/// [heads, ...] of a param, [sequence, heads, ...] of a state, [slot, heads, ...]
/// of a saved one, one number of a value. Absent buffers have no data.
struct HostBuffer {
  std::vector<double> data;
  int64_t heads = 1;
};
using Buffers = std::map<std::string, HostBuffer>;

/// Elements of a buffer with `heads` heads.
int64_t bufferSize(tile::BufferType type, const Launch &launch, int64_t heads, int64_t chunk);

/// Runs one kernel on buffers found by argument name; a missing one counts as
/// left out.
llvm::Error runKernel(tile::KernelOp kernel, Buffers &buffers, const Launch &launch);

/// Runs the kernels of a module in order. Buffers that one kernel writes, another
/// reads and the caller did not give are made here; rows of token outputs that
/// belong to no sequence are zero afterwards.
llvm::Error runKernels(mlir::ModuleOp module, Buffers &buffers, const Launch &launch);

} // namespace fla::interp

#endif
