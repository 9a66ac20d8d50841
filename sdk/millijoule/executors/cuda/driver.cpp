/* The CUDA driver API as far as the launcher uses it, for one emulated GPU.
 *
 *   MJ_EMULATED_SM       compute capability x 10 of the GPU (default: that of the bundle)
 *   MJ_EMULATED_MEMORY   bytes of memory that it has (default: no limit)
 *   MJ_EMULATED_SEED     another order of threads and blocks
 *   MJ_CUDA_TRACE        a file that every call is appended to, addresses relative to their allocation
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "emulator.h"

typedef int result;
enum { OK = 0, INVALID = 1, NO_MEMORY = 2, NOT_FOUND = 500, LAUNCH_FAILED = 719 };

struct recorded { /* a launch, or a copy if `kernel` is NULL */
  const mj_kernel *kernel;
  mj_size grid, block;
  unsigned shared, arguments;
  uint64_t values[64];
};
struct graph {
  recorded *steps;
  unsigned count, room;
};

static graph *capturing;
static uint64_t base; /* of the newest allocation */

static void trace(const char *format, ...) {
  const char *path = getenv("MJ_CUDA_TRACE");
  FILE *out = path != NULL && path[0] != '\0' ? fopen(path, "a") : NULL;
  if (out == NULL) return;
  va_list arguments;
  va_start(arguments, format);
  vfprintf(out, format, arguments);
  va_end(arguments);
  fclose(out);
}

static uint64_t number(const char *name, uint64_t otherwise) {
  const char *text = getenv(name);
  return text != NULL && text[0] != '\0' ? strtoull(text, NULL, 10) : otherwise;
}

static recorded *record(graph *g) {
  if (g->count == g->room) {
    g->room = g->room == 0 ? 64 : 2 * g->room;
    g->steps = (recorded *)realloc(g->steps, g->room * sizeof *g->steps);
  }
  recorded *step = &g->steps[g->count++];
  memset(step, 0, sizeof *step);
  return step;
}

static result execute(const recorded &step) {
  if (step.kernel == NULL) {
    trace("copy %llu %llu %llu\n", (unsigned long long)(step.values[0] - base),
          (unsigned long long)(step.values[1] - base), (unsigned long long)step.values[2]);
    memmove((void *)step.values[0], (const void *)step.values[1], step.values[2]);
    return OK;
  }
  void *arguments[64];
  trace("launch %s %u %u %u %u %u %u %u", step.kernel->name, step.grid.x, step.grid.y, step.grid.z, step.block.x,
        step.block.y, step.block.z, step.shared);
  for (unsigned i = 0; i < step.arguments; i++) {
    arguments[i] = (void *)&step.values[i];
    trace(" %llu", (unsigned long long)(step.values[i] - base));
  }
  trace("\n");
  static pthread_mutex_t one_gpu = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&one_gpu);
  const char *wrong = mj_grid(*step.kernel, step.grid, step.block, step.shared, arguments);
  pthread_mutex_unlock(&one_gpu);
  if (wrong == NULL) return OK;
  trace("error %s\n", wrong);
  fprintf(stderr, "[cuda-emulator] kernel %s: %s\n", step.kernel->name, wrong);
  return LAUNCH_FAILED;
}

extern "C" {
#define API __attribute__((visibility("default"))) result

API cuInit(unsigned) {
  mj_seed(number("MJ_EMULATED_SEED", 1));
  return OK;
}
API cuDeviceGetCount(int *count) { *count = 1; return OK; }
API cuDeviceGet(int *device, int index) { *device = index; return index == 0 ? OK : INVALID; }
API cuDeviceGetAttribute(int *value, int attribute, int) {
  const int sm = (int)number("MJ_EMULATED_SM", MJ_SM);
  *value = attribute == 75 ? sm / 10 : attribute == 76 ? sm % 10 : 0;
  return OK;
}
API cuDevicePrimaryCtxRetain(void **context, int) { *context = &capturing; return OK; }
API cuDevicePrimaryCtxRelease_v2(int) { return OK; }
API cuCtxPushCurrent_v2(void *) { return OK; }
API cuCtxPopCurrent_v2(void **context) { *context = &capturing; return OK; }
API cuModuleLoadData(void **module, const void *) { *module = (void *)mj_kernels; return OK; }
API cuModuleUnload(void *) { return OK; }
API cuModuleGetFunction(void **function, void *, const char *name) {
  for (unsigned i = 0; i < mj_kernel_count; i++) {
    if (strcmp(mj_kernels[i].name, name) == 0) {
      *function = (void *)&mj_kernels[i];
      return OK;
    }
  }
  return NOT_FOUND;
}
API cuFuncSetAttribute(void *, int, int) { return OK; }
API cuMemAlloc_v2(uint64_t *address, size_t bytes) {
  trace("alloc %zu\n", bytes);
  if (bytes > number("MJ_EMULATED_MEMORY", UINT64_MAX)) return NO_MEMORY;
  void *memory = aligned_alloc(4096, (bytes + 4095u) & ~(size_t)4095u);
  if (memory == NULL) return NO_MEMORY;
  memset(memory, 0xff, bytes); /* NaN: nothing may be read before it was written */
  *address = base = (uint64_t)memory;
  return OK;
}
API cuMemFree_v2(uint64_t address) { free((void *)address); return OK; }
API cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *) {
  trace("in %llu %zu\n", (unsigned long long)(to - base), bytes);
  memcpy((void *)to, from, bytes);
  return OK;
}
API cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *) {
  trace("out %llu %zu\n", (unsigned long long)(from - base), bytes);
  memcpy(to, (const void *)from, bytes);
  return OK;
}
API cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *) {
  recorded one;
  recorded *step = capturing != NULL ? record(capturing) : &one;
  memset(step, 0, sizeof *step);
  step->values[0] = to;
  step->values[1] = from;
  step->values[2] = bytes;
  return capturing != NULL ? OK : execute(one);
}
API cuStreamCreate(void **stream, unsigned) { *stream = &capturing; return OK; }
API cuStreamDestroy_v2(void *) { return OK; }
API cuStreamSynchronize(void *) { return OK; }
API cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *, void **arguments, void **) {
  recorded one;
  recorded *step = capturing != NULL ? record(capturing) : &one;
  memset(step, 0, sizeof *step);
  step->kernel = (const mj_kernel *)function;
  step->grid = mj_size{gx, gy, gz};
  step->block = mj_size{bx, by, bz};
  step->shared = shared;
  step->arguments = step->kernel->arguments;
  if (step->arguments > 64) return INVALID;
  for (unsigned i = 0; i < step->arguments; i++) step->values[i] = *(const uint64_t *)arguments[i];
  return capturing != NULL ? OK : execute(one);
}
API cuEventCreate(void **event, unsigned) {
  *event = calloc(1, sizeof(struct timespec));
  return *event != NULL ? OK : NO_MEMORY;
}
API cuEventRecord(void *event, void *) { return clock_gettime(CLOCK_MONOTONIC, (struct timespec *)event); }
API cuEventElapsedTime(float *ms, void *from, void *to) {
  const struct timespec *a = (const struct timespec *)from, *b = (const struct timespec *)to;
  *ms = (float)((double)(b->tv_sec - a->tv_sec) * 1e3 + (double)(b->tv_nsec - a->tv_nsec) * 1e-6);
  return OK;
}
API cuEventDestroy_v2(void *event) { free(event); return OK; }
API cuGetErrorName(result error, const char **name) {
  *name = error == NO_MEMORY       ? "CUDA_ERROR_OUT_OF_MEMORY"
          : error == NOT_FOUND     ? "CUDA_ERROR_NOT_FOUND"
          : error == LAUNCH_FAILED ? "CUDA_ERROR_LAUNCH_FAILED"
                                   : "CUDA_ERROR_INVALID_VALUE";
  return OK;
}
API cuStreamBeginCapture_v2(void *, int) {
  capturing = (graph *)calloc(1, sizeof *capturing);
  return capturing != NULL ? OK : NO_MEMORY;
}
API cuStreamEndCapture(void *, void **made) {
  *made = capturing;
  capturing = NULL;
  return OK;
}
API cuGraphInstantiateWithFlags(void **exec, void *made, unsigned long long) {
  const graph *from = (const graph *)made;
  graph *copy = (graph *)calloc(1, sizeof *copy);
  if (copy == NULL) return NO_MEMORY;
  copy->count = copy->room = from->count;
  copy->steps = (recorded *)malloc((from->count + 1u) * sizeof *copy->steps);
  if (from->count > 0) memcpy(copy->steps, from->steps, from->count * sizeof *copy->steps);
  *exec = copy;
  return OK;
}
API cuGraphLaunch(void *exec, void *) {
  const graph *g = (const graph *)exec;
  trace("graph %u\n", g->count);
  for (unsigned i = 0; i < g->count; i++) {
    const result done = execute(g->steps[i]);
    if (done != OK) return done;
  }
  return OK;
}
API cuGraphDestroy(void *made) {
  free(((graph *)made)->steps);
  free(made);
  return OK;
}
API cuGraphExecDestroy(void *exec) { return cuGraphDestroy(exec); }
}
