/* A GPU driver that runs nothing: it records what a runtime asks of CUDA's driver
 * API or of HIP, and hands each launch to the test. The test sets the variables
 * below and reads the counters through the same library. */
#define _DEFAULT_SOURCE
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEVICES = 2, MODULES = 4096, FUNCTIONS = 8192 }; /* slots are not used again */

int fake_capability = 90, fake_shared_limit = 232448, fake_devices = DEVICES, fake_version = 12040;
int fake_init_result = 0, fake_load_result = 0, fake_launch_result = 0, fake_capturing = 0;
int fake_capture_mode = 0, fake_load_mode = -1; /* the thread's capture mode, and what it was during a load */
const char *fake_jit_log = "", *fake_arch = "gfx942:sramecc+:xnack-";
int fake_refused_loads = 0; /* so many loads of cubins fail */
int fake_link_result = 0, fake_link_together = 1; /* so many wait for each other */
atomic_int fake_links = 0, fake_links_at_once = 0; /* the most */
int fake_loads = 0, fake_unloads = 0, fake_launches = 0, fake_reads = 0, fake_depth = 0;
int fake_graphs = 0, fake_replays = 0, fake_graph_result = 0, fake_set_result = 0, fake_replay_result = 0, fake_priority = 0;
int (*fake_count)(const char *code, const char *kernel) = 0; /* parameters of a kernel */

typedef struct Launch {
  const char *code, *kernel;
  int64_t grid, threads, shared, device;
  void *stream;
  void **parameters;
} Launch;
void (*fake_on_launch)(const Launch *) = 0;

typedef struct Module { char code[64], *text; int live; void *context; } Module;
typedef struct Function { Module *module; char name[64]; int shared; } Function;
static Module modules[MODULES];
static Function functions[FUNCTIONS];
static int contexts[DEVICES]; /* their addresses are the primary contexts */
static _Thread_local void *stack[16];
static _Thread_local int depth = 0; /* fake_depth: that of the thread that changed it last */
static _Thread_local int capture_mode = 0;
static int num_modules = 0, num_functions = 0;

void fake_reset(void) {
  fake_loads = fake_unloads = fake_launches = fake_reads = 0;
  fake_graphs = fake_replays = fake_graph_result = fake_set_result = fake_replay_result = fake_priority = 0;
  fake_capability = 90, fake_shared_limit = 232448, fake_version = 12040;
  fake_init_result = fake_load_result = fake_launch_result = fake_capturing = 0;
  fake_refused_loads = fake_link_result = fake_links = fake_links_at_once = 0, fake_link_together = 1;
  fake_jit_log = "";
  fake_on_launch = 0;
}
/* What a framework does when it selects a device. */
void fake_select(int device) { fake_depth = depth = 1, stack[1] = &contexts[device]; }
void fake_select_none(void) { fake_depth = depth = 0; }
static void *current(void) { return depth ? stack[depth] : 0; }
static int deviceOf(void *context) { return (int)((int *)context - contexts); }

int cuInit(unsigned flags) { return (void)flags, fake_init_result; }
int cuGetErrorName(int error, const char **text) {
  *text = error == 222 ? "CUDA_ERROR_UNSUPPORTED_PTX_VERSION" : error == 100 ? "CUDA_ERROR_NO_DEVICE" : error == 701 ? "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES" : "CUDA_ERROR_OTHER";
  return 0;
}
int cuGetErrorString(int error, const char **text) {
  *text = error == 222 ? "the provided PTX was compiled with an unsupported toolchain." : error == 100 ? "no CUDA-capable device is detected" : "something";
  return 0;
}
int cuDriverGetVersion(int *version) { return *version = fake_version, 0; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, ordinal < 0 || ordinal >= fake_devices ? 101 : 0; }
int cuDeviceGetAttribute(int *value, int which, int device) {
  (void)device;
  *value = which == 75 ? fake_capability / 10 : which == 76 ? fake_capability % 10 : which == 97 ? fake_shared_limit : which == 1 ? 1024 : which == 5 ? 2147483647 : 0;
  return 0;
}
int cuCtxGetCurrent(void **context) { return *context = current(), 0; }
int cuCtxGetDevice(int *device) { return depth ? (*device = deviceOf(stack[depth]), 0) : 201; }
int cuCtxPushCurrent_v2(void *context) { return stack[fake_depth = ++depth] = context, 0; }
int cuCtxPopCurrent_v2(void **context) { return *context = stack[depth], fake_depth = --depth, 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { return *context = &contexts[device], 0; }

/* The linker: a cubin is "\x7f" "ELF" and the text it was made of. */
typedef struct Link { char *cubin, *log; size_t size; } Link;
static atomic_int linking = 0;
int cuLinkCreate_v2(unsigned count, int *options, void **values, void **state) {
  Link *link = calloc(1, sizeof *link);
  for (unsigned i = 0; i < count; ++i)
    if (options[i] == 5)
      link->log = values[i];
  return *state = link, current() ? 0 : 201;
}
int cuLinkAddData_v2(void *state, int type, void *data, size_t size, const char *name, unsigned count, int *options, void **values) {
  (void)name, (void)options, (void)values;
  Link *link = state;
  if (type != 1 || count || size != strlen(data) + 1)
    return 1;
  int now = ++linking;
  for (int most = fake_links_at_once; now > most && !atomic_compare_exchange_weak(&fake_links_at_once, &most, now);)
    ;
  for (int tries = 0; fake_links_at_once < fake_link_together && tries < 5000; ++tries)
    usleep(1000);
  --linking, ++fake_links;
  link->cubin = malloc(4 + size), link->size = 4 + size;
  memcpy(link->cubin, "\x7f" "ELF", 4), memcpy(link->cubin + 4, data, size);
  if (fake_link_result && link->log)
    strcpy(link->log, fake_jit_log);
  return fake_link_result;
}
int cuLinkComplete(void *state, void **cubin, size_t *size) {
  Link *link = state;
  return *cubin = link->cubin, *size = link->size, current() ? 0 : 201;
}
int cuLinkDestroy(void *state) { return free(((Link *)state)->cubin), free(state), 0; }

int cuModuleLoadDataEx(void **module, const void *code, unsigned count, int *options, void **values) {
  fake_load_mode = capture_mode;
  for (unsigned i = 0; i < count; ++i)
    if (options[i] == 5)
      strcpy(values[i], fake_jit_log);
  if (fake_load_result)
    return fake_load_result;
  if (!strncmp(code, "\x7f" "ELF", 4)) {
    if (fake_refused_loads && fake_refused_loads--)
      return 209;
    code = (const char *)code + 4;
  }
  Module *slot = &modules[num_modules++ % MODULES];
  ++fake_loads;
  snprintf(slot->code, sizeof slot->code, "%s", (const char *)code);
  slot->text = strdup(code), slot->live = 1, slot->context = current();
  return *module = slot, 0;
}
int cuModuleUnload(void *module) { return free(((Module *)module)->text), ((Module *)module)->live = 0, ++fake_unloads, 0; }
int cuModuleGetFunction(void **function, void *module, const char *name) {
  const char *text = ((Module *)module)->text;
  if (strstr(text, ".entry") && !strstr(text, name)) /* other texts have any kernel */
    return 500;
  Function *slot = &functions[num_functions++ % FUNCTIONS];
  slot->module = module, slot->shared = 49152;
  snprintf(slot->name, sizeof slot->name, "%s", name);
  return *function = slot, 0;
}
int cuFuncSetAttribute(void *function, int which, int value) { return which == 8 ? (((Function *)function)->shared = value, 0) : 1; }
int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned tx, unsigned ty, unsigned tz, unsigned shared, void *stream,
                   void **parameters, void **extra) {
  Function *f = function;
  if (y != 1 || z != 1 || ty != 1 || tz != 1 || extra || !f->module->live || (int)shared > f->shared || x == 0)
    return 1;
  if (f->module->context != current())
    return 201; /* a function of another context */
  ++fake_launches;
  Launch launch = {f->module->code, f->name, x, tx, shared, depth ? deviceOf(stack[depth]) : -1, stream, parameters};
  if (fake_on_launch)
    fake_on_launch(&launch);
  return fake_launch_result;
}

/* Graphs: chains of kernels. Parameters are copied when they are set. */
typedef struct Node {
  void *function;
  unsigned x, y, z, tx, ty, tz, shared;
  void **parameters, **extra, *kernel, *context;
} Node;
enum { NODES = 16, PARAMETERS = 512 };
typedef struct Graph { int count; Node nodes[NODES]; int64_t values[NODES][PARAMETERS]; void *pointers[NODES][PARAMETERS], *context; } Graph;
static void set_node(Graph *graph, int i, const Node *given) {
  Function *f = given->function;
  int count = fake_count ? fake_count(f->module->code, f->name) : 0;
  graph->nodes[i] = *given;
  for (int k = 0; k < count && k < PARAMETERS; ++k)
    graph->values[i][k] = *(int64_t *)given->parameters[k], graph->pointers[i][k] = &graph->values[i][k];
  graph->nodes[i].parameters = graph->pointers[i];
}
int cuGraphCreate(void **graph, unsigned flags) { return *graph = calloc(1, sizeof(Graph)), (int)flags; }
int cuGraphAddKernelNode_v2(void **node, void *graph, void *const *before, size_t count, const Node *given) {
  Graph *g = graph;
  if (count != (g->count > 0) || (count && *before != (void *)(intptr_t)g->count) || g->count == NODES)
    return 1; /* not one after another; nodes are numbers from 1 */
  set_node(g, g->count, given);
  return *node = (void *)(intptr_t)++g->count, 0;
}
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
  if (fake_graph_result || flags || capture_mode != 2)
    return fake_graph_result ? fake_graph_result : 1;
  Graph *g = malloc(sizeof(Graph));
  memcpy(g, graph, sizeof(Graph));
  for (int i = 0; i < g->count; ++i)
    g->nodes[i].parameters = 0; /* to be set */
  return g->context = current(), *executable = g, ++fake_graphs, 0;
}
int cuGraphExecKernelNodeSetParams_v2(void *executable, void *node, const Node *given) {
  Graph *g = executable;
  int i = (int)(intptr_t)node - 1;
  if (fake_set_result || i < 0 || i >= g->count || given->function != g->nodes[i].function || g->context != current())
    return 1;
  return set_node(g, i, given), 0;
}
int cuGraphLaunch(void *executable, void *stream) {
  Graph *g = executable;
  if (fake_replay_result || fake_capturing)
    return 1;
  ++fake_replays;
  for (int i = 0; i < g->count; ++i) {
    Node *n = &g->nodes[i];
    if (!n->parameters)
      return 1;
    int result = cuLaunchKernel(n->function, n->x, n->y, n->z, n->tx, n->ty, n->tz, n->shared, stream, n->parameters, n->extra);
    if (result)
      return result;
  }
  return 0;
}
int cuGraphDestroy(void *graph) { return free(graph), 0; }
int cuGraphExecDestroy(void *executable) { return free(executable), --fake_graphs, 0; }
int cuStreamGetPriority(void *stream, int *priority) { return (void)stream, *priority = fake_priority, 0; }

int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) {
  return (void)stream, ++fake_reads, memcpy(to, (const void *)from, bytes), 0;
}
int cuStreamSynchronize(void *stream) { return (void)stream, 0; }
int cuStreamIsCapturing(void *stream, int *status) { return (void)stream, *status = fake_capturing, 0; }
int cuThreadExchangeStreamCaptureMode(int *mode) {
  int before = capture_mode;
  return fake_capture_mode = capture_mode = *mode, *mode = before, 0;
}

/* HIP: the same machine, contexts being devices. */
static int hip_device = 0;
int hipInit(unsigned flags) { return cuInit(flags); }
const char *hipGetErrorName(int error) { return error == 209 ? "hipErrorNoBinaryForGpu" : "hipErrorOther"; }
const char *hipGetErrorString(int error) { return (void)error, "a problem"; }
int hipGetDeviceCount(int *count) { return *count = fake_devices, 0; }
int hipDeviceGetAttribute(int *value, int which, int device) { return (void)device, *value = which == 56 ? 1024 : which == 74 ? 65536 : 0, 0; }
int hipGetDevicePropertiesR0600(void *properties, int device) {
  (void)device;
  strcpy(properties, "AMD Instinct MI300X");
  strcpy((char *)properties + 1160, fake_arch);
  return 0;
}
int hipGetDevice(int *device) { return *device = hip_device, 0; }
int hipSetDevice(int device) { return hip_device = device, 0; }
int hipModuleLoadData(void **module, const void *code) {
  fake_depth = depth = 0;
  return cuModuleLoadDataEx(module, code, 0, 0, 0);
}
int hipModuleUnload(void *module) { return cuModuleUnload(module); }
int hipModuleGetFunction(void **function, void *module, const char *name) { return cuModuleGetFunction(function, module, name); }
int hipModuleLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned tx, unsigned ty, unsigned tz, unsigned shared, void *stream,
                          void **parameters, void **extra) {
  return cuLaunchKernel(function, x, y, z, tx, ty, tz, shared, stream, parameters, extra);
}
int hipMemcpyDtoHAsync(void *to, const void *from, size_t bytes, void *stream) { return cuMemcpyDtoHAsync_v2(to, (uint64_t)from, bytes, stream); }
int hipStreamSynchronize(void *stream) { return (void)stream, 0; }
int hipStreamIsCapturing(void *stream, int *status) { return cuStreamIsCapturing(stream, status); }
int hipThreadExchangeStreamCaptureMode(int *mode) { return cuThreadExchangeStreamCaptureMode(mode); }
