//===- CommonText.cpp - what every generated C header says ----------------===//
#include "CommonText.h"

const char *const fla::kCommonHeaderText = R"C(#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#ifndef FLA_KERNEL_CONVENTION
#define FLA_KERNEL_CONVENTION

/* One grid point: which rows of which batch entry form the sequence. */
typedef struct FlaGridPoint {
  int64_t sequence;   /* index into states */
  int64_t batch;      /* batch entry that holds the rows (0 when packed) */
  int64_t first_row;  /* first row of the sequence within the batch entry */
  int64_t num_rows;   /* length of the sequence, 0 allowed */
  int64_t first_slot; /* chunk slot of its first chunk, for `saved` buffers */
  int64_t head;       /* head */
  int64_t block;      /* column block */
  int64_t chunk;      /* chunk (kernels over chunks only) */
} FlaGridPoint;

/* A tensor. Strides count elements; the axes inside a head are contiguous.
 * `group` is the call's heads divided by the tensor's. data == NULL: left out. */
typedef struct FlaBuffer {
  void *data;
  int64_t stride_batch, stride_token, stride_head, group;
} FlaBuffer;

/* Sizes of a call. With cu_seqlens (num_sequences + 1 offsets, batch 1) the
 * sequences are packed along time; without, num_sequences is ignored. */
typedef struct FlaSizes {
  int64_t batch, tokens, heads, num_sequences;
  const int64_t *cu_seqlens;
} FlaSizes;

typedef void (*FlaKernelFn)(const FlaBuffer *buffers, const FlaGridPoint *point, void *workspace);

typedef struct FlaKernel {
  FlaKernelFn function;
  int64_t chunk, blocks;
  int over_chunks;
  size_t workspace_bytes;
} FlaKernel;

/* Contiguous tensors; `size` is the number of elements of a head. */
static inline FlaBuffer fla_token(void *data, int64_t tokens, int64_t heads, int64_t size) { /* [batch, tokens, heads, size] */
  FlaBuffer b = {data, tokens * heads * size, heads * size, size, 1};
  return b;
}
static inline FlaBuffer fla_state(void *data, int64_t heads, int64_t size) { /* [sequence, heads, size] */
  FlaBuffer b = {data, heads * size, 0, size, 1};
  return b;
}
static inline FlaBuffer fla_saved(void *data, int64_t heads, int64_t size) { /* [slot, heads, size] */
  return fla_state(data, heads, size);
}
static inline FlaBuffer fla_param(void *data, int64_t size) { /* [heads, size] */
  FlaBuffer b = {data, 0, 0, size, 1};
  return b;
}
static inline FlaBuffer fla_value(double *number) { /* one double */
  FlaBuffer b = {number, 0, 0, 0, 1};
  return b;
}
static inline FlaBuffer fla_absent(void) { /* an input, state or output left out */
  FlaBuffer b = {NULL, 0, 0, 0, 1};
  return b;
}

static inline int64_t fla_num_sequences(const FlaSizes *sizes) { return sizes->cu_seqlens ? sizes->num_sequences : sizes->batch; }

/* Chunk slots that a `saved` tensor needs. */
static inline int64_t fla_num_slots(const FlaSizes *sizes, int64_t chunk) {
  return sizes->batch * sizes->tokens / chunk + fla_num_sequences(sizes);
}

/* All grid points of one sequence and head. */
static inline void fla_run_head(const FlaKernel *kernel, const FlaBuffer *buffers, FlaGridPoint point, void *workspace) {
  int64_t chunks = kernel->over_chunks ? (point.num_rows + kernel->chunk - 1) / kernel->chunk : 1;
  for (point.chunk = 0; point.chunk < chunks; ++point.chunk)
    for (point.block = 0; point.block < kernel->blocks; ++point.block)
      kernel->function(buffers, &point, workspace);
}

/* Runs a kernel over sequences and heads, on the calling thread. Grid points are
 * independent: to use several threads, give each its share of them and a
 * workspace of its own. Returns 0, or 1 if there is no memory for the workspace. */
static inline int fla_run_kernel(const FlaKernel *kernel, const FlaBuffer *buffers, const FlaSizes *sizes) {
  char *memory = (char *)malloc(kernel->workspace_bytes + 64);
  if (!memory)
    return 1;
  void *workspace = memory + (64 - (uintptr_t)memory % 64); /* 64-byte aligned */
  for (int64_t n = 0; n < fla_num_sequences(sizes); ++n) {
    FlaGridPoint point = {n, n, 0, sizes->tokens, 0, 0, 0, 0};
    if (sizes->cu_seqlens) {
      point.batch = 0;
      point.first_row = sizes->cu_seqlens[n];
      point.num_rows = sizes->cu_seqlens[n + 1] - point.first_row;
    }
    point.first_slot = (point.batch * sizes->tokens + point.first_row) / kernel->chunk + n;
    for (point.head = 0; point.head < sizes->heads; ++point.head)
      fla_run_head(kernel, buffers, point, workspace);
  }
  free(memory);
  return 0;
}

#endif /* FLA_KERNEL_CONVENTION */
)C";
