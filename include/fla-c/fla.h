/*===- fla.h - the C API of libfla ------------------------------*- C -*-===*\
|*                                                                          *|
|* Compile a definition, ask what it takes, run it. Thread-safe: programs   *|
|* are immutable once compiled. Strings are UTF-8; text is IR or JSON.      *|
|*                                                                          *|
\*===----------------------------------------------------------------------===*/
#ifndef FLA_C_FLA_H
#define FLA_C_FLA_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define FLA_EXPORT __declspec(dllexport)
#else
#define FLA_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** A compiled program: one direction of one form of one definition. */
typedef struct FlaProgram FlaProgram;

/** A tensor of the caller. Strides count elements; the axes inside a head are
 *  contiguous. Absent (optional) tensors have `data == NULL`.
 *    token  [batch, time, heads, shape...]   batch, token, head strides
 *    param  [heads, shape...]                head stride
 *    value  one double                       no strides
 *    state  [sequence, heads, shape...]      batch (= sequence) and head strides
 *    saved  [slot, heads, shape...]          batch (= slot) and head strides
 *  `heads` divides the launch's heads; head h of the launch uses h / (H/heads). */
typedef struct FlaTensor {
  void *data;
  int64_t stride_batch, stride_token, stride_head;
  int64_t heads;
} FlaTensor;

/** Run-time sizes. With `cu_seqlens` (num_sequences+1 offsets, batch 1) the
 *  sequences are packed along time; otherwise num_sequences == batch. The first
 *  chunk slot of sequence n that starts at row r (counted over the flattened
 *  batch) is r / chunk + n; there are (batch*tokens) / chunk + num_sequences slots.
 *  With `state_indices` (num_sequences numbers; not for a backward) sequence n reads
 *  and writes the state state_indices[n] out of num_states; where that is negative
 *  it is skipped: its states and its rows of the outputs stay as they are. A
 *  final_state may be the very tensor of its initial_state where `heads` of both is
 *  the launch's: the state is read before it is written, and by nobody else unless
 *  an index repeats. Zeros from { 0 } mean none of this. */
typedef struct FlaShape {
  int64_t batch, tokens, heads, num_sequences;
  const int64_t *cu_seqlens;
  const int64_t *state_indices;
  int64_t num_states;
} FlaShape;

/** Version and build identity; compiled artefacts are cached under it. */
FLA_EXPORT const char *fla_version(void);

/** Text of the last failure on this thread: diagnostics as a compiler prints them. */
FLA_EXPORT const char *fla_last_error(void);

/** Frees a string returned by this API. */
FLA_EXPORT void fla_string_free(char *text);

/** Runs the compiler up to the end of a phase and returns the IR.
 *  `options` is a JSON object; every key is optional:
 *    "target" "cpu"|"cuda:sm_90"|"hip:gfx942"|..., "precision" "ieee"|"tf32" (how a GPU
 *    multiplies fp32: exactly, or rounded to TF32), "dims" {"K":128,...}, "dtype" "f32", "dtypes" {"q":"bf16",...},
 *    "form" "chunk"|"recurrent", "direction" "forward"|"backward"|"both",
 *    "absent" ["gv",...] (inputs that take their default), "chunk" 64,
 *    "blocks" 1 (the grid cuts the columns into at most so many parts, where the
 *    definition allows it; a backward then recomputes the states), "states" "save"|"recompute", "entry" name of the definition, "until" phase
 *    ("define","normalize","chunk","differentiate","kernelize","layout","target").
 *  NULL on failure. */
FLA_EXPORT char *fla_phase(const char *source, const char *options);

/** Compiles `source` (MLIR text with one definition, or naming it by "entry").
 *  Takes the options of fla_phase; "direction" is "forward" or "backward".
 *  Looks in the on-disk cache first. Compiling for a GPU needs neither one nor its
 *  driver. NULL on failure. */
FLA_EXPORT FlaProgram *fla_compile(const char *source, const char *options);
FLA_EXPORT void fla_program_free(FlaProgram *program);

/** What the program takes, as JSON:
 *  {"name":..., "chunk":64, "args":[{"name":"q","role":"input","kind":"token",
 *   "shape":[128],"dtype":"bf16","partial":false,"alike":false,"output":false}, ...], "cached":true}
 *  Roles: input, initial_state, output, final_state, saved, d_output,
 *  d_final_state, d_input, d_initial_state, temp. The caller allocates all of
 *  them. A d_input of a per-token input is [batch, time, H, ...] for all H heads
 *  of the launch (the caller sums a group); of a param it is [sequence, H, ...].
 *  A "partial" one has a leading axis of blocks in its shape, which the caller sums;
 *  an "alike" final_state is stored by one of several blocks that all read the initial one,
 *  so the two must not be one tensor;
 *  several whose names differ after an '@' only are pieces that the caller adds.
 *  A program for a GPU also has "target":"cuda:sm_90", "format":"ptx" and "kernels":
 *  [{"name":..., "threads":128, "shared":65536, "chunk":64, "blocks":1,
 *   "over_chunks":false, "args":[0, 1, ...]}, ...]. */
FLA_EXPORT const char *fla_program_manifest(const FlaProgram *program);

/** Runs a program for the CPU on tensors in the manifest's order. 0 on success. */
FLA_EXPORT int fla_run(const FlaProgram *program, const FlaTensor *tensors, int64_t num_tensors,
                       const FlaShape *shape, int64_t num_threads);

/** Launches a program for a GPU on a stream of a device and returns without waiting:
 *  no synchronisation, no allocation on the device, nothing of it is read; it can be
 *  captured in a graph once the program has run on the device. All data, `cu_seqlens`
 *  and `state_indices` included, are device pointers, values are one double on the device. `device`
 *  is the driver's ordinal, `stream` a CUstream or hipStream_t of the context that is
 *  current, or of the device's primary context when none of that device is. Kernels
 *  are loaded once a context; the driver is opened at the first call. 0 on success. */
FLA_EXPORT int fla_run_on_device(const FlaProgram *program, const FlaTensor *tensors, int64_t num_tensors,
                                 const FlaShape *shape, int64_t device, void *stream);

/** Loads a program for a GPU onto `device`, as its first run there would. 0 on success. */
FLA_EXPORT int fla_load_on_device(const FlaProgram *program, int64_t device);

/** The facts of a definition as JSON: arguments (name, role, kind, dims, attributes),
 *  states, outputs, and after normalisation its class. NULL on failure. */
FLA_EXPORT char *fla_describe(const char *source, const char *options);

/** Runs the verification ladder; returns a JSON array of rows
 *  {"phase","form","dtype","case","error","tolerance","pass"}. NULL on failure. */
FLA_EXPORT char *fla_check(const char *source, const char *options);

/** Programs compiled (not taken from a cache) by this process. */
FLA_EXPORT int64_t fla_compilations(void);

#ifdef __cplusplus
}
#endif
#endif
