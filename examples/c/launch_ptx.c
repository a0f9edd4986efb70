/* Launches a kernel of the gated delta rule from PTX through CUDA's driver API, and
 * checks it against a token loop.
 *
 *   fla-translate lib/Models/gated_delta_rule.mlir --fla-to-ptx --chip=sm_90 \
 *                 --dims=K:64,V:64 --dtype=f32 --grad=false -o rule.ptx
 *   cc -Iinclude examples/c/launch_ptx.c -ldl -lm -o launch_ptx
 *   ./launch_ptx rule.ptx THREADS SHARED
 *
 * THREADS and SHARED are the threads and the bytes of dynamic shared memory of a block,
 * which --resources prints. What the kernel takes and how large its grid is: fla-c/launch.h.
 * The driver is opened at run time: neither CUDA's headers nor its toolkit are needed.
 */
#include "fla-c/launch.h"

#include <dlfcn.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { B = 2, T = 150, H = 3, K = 64, V = 64, ROWS = B * T * H, STATES = B * H };

/*===- The driver ---------------------------------------------------------===*/

typedef uint64_t Address; /* CUdeviceptr */
static int (*cuInit)(unsigned);
static int (*cuGetErrorString)(int, const char **);
static int (*cuDeviceGet)(int *, int);
static int (*cuDevicePrimaryCtxRetain)(void **, int);
static int (*cuCtxSetCurrent)(void *);
static int (*cuModuleLoadData)(void **, const void *);
static int (*cuModuleGetFunction)(void **, void *, const char *);
static int (*cuFuncSetAttribute)(void *, int, int);
static int (*cuMemAlloc)(Address *, size_t);
static int (*cuMemcpyHtoD)(Address, const void *, size_t);
static int (*cuMemcpyDtoH)(void *, Address, size_t);
static int (*cuLaunchKernel)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);

static void check(int result, const char *call) {
  if (result == 0)
    return;
  const char *text = "unknown error";
  cuGetErrorString(result, &text);
  fprintf(stderr, "%s: %s\n", call, text);
  exit(1);
}

static void openDriver(void) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW);
  if (!library) {
    fprintf(stderr, "expected NVIDIA's driver, got: %s\n", dlerror());
    exit(1);
  }
  struct {
    void *function;
    const char *name;
  } all[] = {{&cuInit, "cuInit"},
             {&cuGetErrorString, "cuGetErrorString"},
             {&cuDeviceGet, "cuDeviceGet"},
             {&cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain"},
             {&cuCtxSetCurrent, "cuCtxSetCurrent"},
             {&cuModuleLoadData, "cuModuleLoadData"},
             {&cuModuleGetFunction, "cuModuleGetFunction"},
             {&cuFuncSetAttribute, "cuFuncSetAttribute"},
             {&cuMemAlloc, "cuMemAlloc_v2"},
             {&cuMemcpyHtoD, "cuMemcpyHtoD_v2"},
             {&cuMemcpyDtoH, "cuMemcpyDtoH_v2"},
             {&cuLaunchKernel, "cuLaunchKernel"}};
  for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
    void *symbol = dlsym(library, all[i].name);
    if (!symbol) {
      fprintf(stderr, "expected %s in NVIDIA's driver, got none\n", all[i].name);
      exit(1);
    }
    memcpy(all[i].function, &symbol, sizeof symbol);
  }
  int device;
  void *context;
  check(cuInit(0), "cuInit");
  check(cuDeviceGet(&device, 0), "cuDeviceGet");
  check(cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
  check(cuCtxSetCurrent(context), "cuCtxSetCurrent");
}

/*===- The kernel ---------------------------------------------------------===*/

/* Reads a whole file; the text ends in a 0. */
static char *readFile(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) {
    perror(path);
    exit(1);
  }
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  rewind(file);
  char *text = calloc((size_t)size + 1, 1);
  if (!text || fread(text, 1, (size_t)size, file) != (size_t)size)
    exit(1);
  fclose(file);
  return text;
}

/* The name after ".entry" of a PTX text. */
static void entryName(const char *ptx, char *name, size_t size) {
  const char *at = strstr(ptx, ".entry ");
  size_t length = at ? strcspn(at + 7, "( \n") : 0;
  if (length == 0 || length >= size) {
    fprintf(stderr, "expected a kernel (.entry) in the PTX, got none\n");
    exit(1);
  }
  memcpy(name, at + 7, length);
  name[length] = 0;
}

/* [B, T, H, n] and [B, H, n], both dense; as many heads as the launch has. */
static FlaLaunchBuffer tokens(Address data, int64_t n) { return (FlaLaunchBuffer){data, T * H * n, H * n, n, 1}; }
static FlaLaunchBuffer states(Address data, int64_t n) { return (FlaLaunchBuffer){data, H * n, 0, n, 1}; }

static Address upload(const void *data, size_t bytes) {
  Address address;
  check(cuMemAlloc(&address, bytes), "cuMemAlloc");
  if (data)
    check(cuMemcpyHtoD(address, data, bytes), "cuMemcpyHtoD");
  return address;
}

/*===- The token loop -----------------------------------------------------===*/

/* Uniform numbers in [lo, hi), the same on every machine. */
static void fill(float *x, int64_t n, double lo, double hi) {
  static uint64_t state = 1;
  for (int64_t i = 0; i < n; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    x[i] = (float)(lo + (hi - lo) * (double)(state >> 11) / (double)(1ull << 53));
  }
}

static float q[ROWS * K], k[ROWS * K], v[ROWS * V], g[ROWS], beta[ROWS], o[ROWS * V], finalS[STATES * K * V];
static double wantO[ROWS * V], wantS[STATES * K * V];

/* S = e^g S;  S += k (beta (v - S^T k))^T;  o = scale S^T q */
static void token(int64_t row, double *S, double scale) {
  for (int j = 0; j < V; ++j) {
    double held = 0, out = 0;
    for (int i = 0; i < K; ++i)
      held += k[row * K + i] * (S[i * V + j] *= exp(g[row]));
    for (int i = 0; i < K; ++i)
      S[i * V + j] += k[row * K + i] * beta[row] * (v[row * V + j] - held);
    for (int i = 0; i < K; ++i)
      out += q[row * K + i] * S[i * V + j];
    wantO[row * V + j] = scale * out;
  }
}

static int report(const char *what, const float *got, const double *want, int64_t n, double tolerance) {
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < n; ++i) {
    difference += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  double error = sqrt(difference / norm);
  printf("%-12s error %.1e  %s\n", what, error, error <= tolerance ? "pass" : "FAIL");
  return !(error <= tolerance);
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: %s FILE.ptx THREADS SHARED\n", argv[0]);
    return 1;
  }
  unsigned threads = (unsigned)atoi(argv[2]), shared = (unsigned)atoi(argv[3]);
  double scale = 1 / sqrt(K);
  fill(q, ROWS * K, -1, 1);
  fill(k, ROWS * K, -0.2, 0.2);
  fill(v, ROWS * V, -1, 1);
  fill(g, ROWS, -0.5, 0);
  fill(beta, ROWS, 0, 1);

  openDriver();
  char name[256];
  char *ptx = readFile(argv[1]);
  entryName(ptx, name, sizeof name);
  void *module, *kernel;
  check(cuModuleLoadData(&module, ptx), "cuModuleLoadData");
  check(cuModuleGetFunction(&kernel, module, name), "cuModuleGetFunction");
  check(cuFuncSetAttribute(kernel, 8 /* most dynamic shared memory */, (int)shared), "cuFuncSetAttribute");

  /* The buffers in the order of the kernel: inputs, initial state, output, final state. */
  Address outO = upload(NULL, sizeof o), outS = upload(NULL, sizeof finalS);
  FlaLaunchBuffer buffers[] = {
      tokens(upload(q, sizeof q), K),       tokens(upload(k, sizeof k), K),
      tokens(upload(v, sizeof v), V),       tokens(upload(g, sizeof g), 1),
      tokens(upload(beta, sizeof beta), 1), {upload(&scale, sizeof scale), 0, 0, 0, 1}, /* a `value` is a double there */
      {0, 0, 0, 0, 1},                      /* no initial state: it starts at zero */
      tokens(outO, V),                      states(outS, K * V),
  };
  enum { BUFFERS = sizeof buffers / sizeof *buffers };
  FlaLaunchSizes sizes = {.batch = B, .tokens = T, .heads = H, .sequences = B, .cu_seqlens = 0};
  FlaLaunchKernel facts = {.chunk = 64, .blocks = 1, .over_chunks = 0};
  uint64_t values[64];
  void *pointers[64];
  fla_launch_fill(buffers, BUFFERS, &sizes, values, pointers);
  unsigned grid = (unsigned)fla_launch_grid(&facts, &sizes);
  check(cuLaunchKernel(kernel, grid, 1, 1, threads, 1, 1, shared, NULL, pointers, NULL), "cuLaunchKernel");
  check(cuMemcpyDtoH(o, outO, sizeof o), "cuMemcpyDtoH");
  check(cuMemcpyDtoH(finalS, outS, sizeof finalS), "cuMemcpyDtoH");

  for (int64_t b = 0; b < B; ++b)
    for (int64_t t = 0; t < T; ++t)
      for (int64_t h = 0; h < H; ++h)
        token((b * T + t) * H + h, wantS + (b * H + h) * K * V, scale);
  free(ptx);
  return report("output", o, wantO, ROWS * V, 1e-5) + report("final state", finalS, wantS, STATES * K * V, 1e-5);
}
