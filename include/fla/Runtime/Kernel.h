//===- Kernel.h - calling convention of compiled kernels --------*- C++ -*-===//
//
// What the CPU code generator emits and the runtime calls. No MLIR here.
//
//===----------------------------------------------------------------------===//
#ifndef FLA_RUNTIME_KERNEL_H
#define FLA_RUNTIME_KERNEL_H

#include <cstdint>

namespace fla::runtime {

/// One grid point: which rows of which batch entry form the sequence.
struct GridPoint {
  int64_t sequence;  ///< index into states
  int64_t batch;     ///< batch entry that holds the rows (0 when packed)
  int64_t firstRow;  ///< first row of the sequence within the batch entry
  int64_t numRows;   ///< length of the sequence, 0 allowed
  int64_t firstSlot; ///< chunk slot of its first chunk, for `saved` buffers
  int64_t head;      ///< value head
  int64_t block;     ///< column block
  int64_t chunk;     ///< chunk (kernels over chunks only)
};

/// A buffer as a kernel sees it; `group` is launch heads / tensor heads.
struct Buffer {
  void *data;
  int64_t strideBatch, strideToken, strideHead, group;
};

/// A kernel runs one grid point. `workspace` holds the bytes that the kernel
/// asked for, 64-byte aligned, private to the calling thread.
using KernelFn = void (*)(const Buffer *buffers, const GridPoint *point, void *workspace);

} // namespace fla::runtime

#endif
