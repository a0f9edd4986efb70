/*===- launch.h - how a compiled GPU kernel is launched ---------*- C -*-===*\
|*                                                                          *|
|* For callers of a driver's API that launch what fla-translate --fla-to-   *|
|* ptx, --fla-to-cubin or --fla-to-hsaco wrote; Python and fla_run do it    *|
|* themselves. Nothing here needs libfla or a driver.                       *|
|*                                                                          *|
|* A kernel takes scalars of 8 bytes and nothing else. For each of its      *|
|* buffers, in the order of `tile.kernel`, five:                            *|
|*                                                                          *|
|*   data, stride_batch, stride_token, stride_head, group                   *|
|*                                                                          *|
|* then six for the launch: tokens, heads, sequences, cu_seqlens,           *|
|* state_indices, num_states. Blocks and grid have one dimension. Threads   *|
|* and dynamic shared memory of a block are on the line that --resources    *|
|* prints; more than 48 KiB of it must be asked for (CUDA:                  *|
|* cuFuncSetAttribute(kernel, 8, bytes)).                                   *|
|*                                                                          *|
|* Example: examples/c/launch_ptx.c.                                        *|
|*                                                                          *|
\*===----------------------------------------------------------------------===*/
#ifndef FLA_C_LAUNCH_H
#define FLA_C_LAUNCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A buffer on the device. Strides count elements; the axes inside a head are
 *  contiguous, and a buffer starts at a multiple of 16 bytes.
 *    token  [batch, time, heads, shape...]
 *    param  [heads, shape...]                stride_head alone counts
 *    value  one double                       no strides
 *    state  [sequence, heads, shape...]      stride_batch is that of sequences
 *    saved  [slot, heads, shape...]          stride_batch is that of slots */
typedef struct FlaLaunchBuffer {
  uint64_t data; /**< its address on the device; 0 if the caller leaves it out */
  int64_t stride_batch, stride_token, stride_head;
  int64_t group; /**< head h of the launch uses head h / group of the buffer */
} FlaLaunchBuffer;

/** Sizes of a launch. Without cu_seqlens each batch entry is a sequence of
 *  `tokens` tokens; with it batch is 1 and the sequences lie along its time. */
typedef struct FlaLaunchSizes {
  int64_t batch, tokens, heads, sequences;
  uint64_t cu_seqlens; /**< address of int64 [sequences + 1] on the device, or 0 */
  /** Address of int64 [sequences] on the device: sequence n reads and writes state
   *  state_indices[n] of num_states, and is skipped where that is none of them. Or 0:
   *  sequence n has state n. */
  uint64_t state_indices;
  int64_t num_states;
} FlaLaunchSizes;

/** What the compiler tells of a kernel (attributes fla.chunk, fla.blocks,
 *  fla.over_chunks of the device form; columns of --resources). */
typedef struct FlaLaunchKernel {
  int64_t chunk;   /**< tokens of a chunk */
  int64_t blocks;  /**< into how many parts the grid cuts the columns */
  int over_chunks; /**< the grid runs over chunks, not over sequences */
} FlaLaunchKernel;

enum {
  FLA_LAUNCH_BUFFER_PARAMETERS = 5,
  FLA_LAUNCH_SIZE_PARAMETERS = 6,
};

/** Parameters of a kernel with `buffers` buffers. */
static inline size_t fla_launch_parameters(size_t buffers) { return buffers * FLA_LAUNCH_BUFFER_PARAMETERS + FLA_LAUNCH_SIZE_PARAMETERS; }

/** Writes the parameters in their order; `values` and `pointers` have room for
 *  fla_launch_parameters(count). `pointers` is what cuLaunchKernel and
 *  hipModuleLaunchKernel take as kernelParams. */
static inline void fla_launch_fill(const FlaLaunchBuffer *buffers, size_t count, const FlaLaunchSizes *sizes, uint64_t *values, void **pointers) {
  size_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    values[at++] = buffers[i].data;
    values[at++] = (uint64_t)buffers[i].stride_batch;
    values[at++] = (uint64_t)buffers[i].stride_token;
    values[at++] = (uint64_t)buffers[i].stride_head;
    values[at++] = (uint64_t)buffers[i].group;
  }
  values[at++] = (uint64_t)sizes->tokens;
  values[at++] = (uint64_t)sizes->heads;
  values[at++] = (uint64_t)sizes->sequences;
  values[at++] = sizes->cu_seqlens;
  values[at++] = sizes->state_indices;
  values[at++] = (uint64_t)sizes->num_states;
  for (size_t i = 0; pointers && i < at; ++i)
    pointers[i] = &values[i];
}

/** Chunk slots: what a `saved` buffer has of each head. Sequence n whose first
 *  row (counted over the flattened batch) is r owns those from r / chunk + n on. */
static inline int64_t fla_launch_slots(const FlaLaunchKernel *kernel, const FlaLaunchSizes *sizes) {
  return sizes->batch * sizes->tokens / kernel->chunk + sizes->sequences;
}

/** Blocks of a launch, gridDim.x; 0 means that nothing is to be launched. Block
 *  (s * heads + head) * blocks + part works on sequence s, or on slot s. */
static inline int64_t fla_launch_grid(const FlaLaunchKernel *kernel, const FlaLaunchSizes *sizes) {
  int64_t along = kernel->over_chunks ? fla_launch_slots(kernel, sizes) : sizes->sequences;
  return along * sizes->heads * kernel->blocks;
}

#ifdef __cplusplus
}
#endif
#endif /* FLA_C_LAUNCH_H */
