/* The CUDA driver API as far as it is used here, opened when the program runs: its library belongs to the
 * driver, so that no CUDA toolkit is needed to build or to start a program.
 *
 * Types and values are those of NVIDIA's cuda.h, which is binary compatible since CUDA 4.
 */
#ifndef MJ_DRIVER_H
#define MJ_DRIVER_H

#include <stddef.h>
#include <stdint.h>

typedef int cu_result;
typedef int cu_device;
typedef uint64_t cu_pointer;
typedef void *cu_handle; /* a context, module, function, stream, event, graph */

enum { CU_OUT_OF_MEMORY = 2, CU_MAJOR = 75, CU_MINOR = 76, CU_DYNAMIC_SHARED = 8, CU_CAPTURE_THREAD = 1 };

/* name here, name in the library, arguments */
#define MJ_DRIVER_FUNCTIONS(F)                                                                       \
  F(init, cuInit, (unsigned))                                                                        \
  F(device_get, cuDeviceGet, (cu_device *, int))                                                     \
  F(device_count, cuDeviceGetCount, (int *))                                                         \
  F(device_attribute, cuDeviceGetAttribute, (int *, int, cu_device))                                 \
  F(context_retain, cuDevicePrimaryCtxRetain, (cu_handle *, cu_device))                              \
  F(context_release, cuDevicePrimaryCtxRelease_v2, (cu_device))                                      \
  F(context_push, cuCtxPushCurrent_v2, (cu_handle))                                                  \
  F(context_pop, cuCtxPopCurrent_v2, (cu_handle *))                                                  \
  F(module_load, cuModuleLoadData, (cu_handle *, const void *))                                      \
  F(module_unload, cuModuleUnload, (cu_handle))                                                      \
  F(module_function, cuModuleGetFunction, (cu_handle *, cu_handle, const char *))                    \
  F(function_attribute, cuFuncSetAttribute, (cu_handle, int, int))                                   \
  F(memory_alloc, cuMemAlloc_v2, (cu_pointer *, size_t))                                             \
  F(memory_free, cuMemFree_v2, (cu_pointer))                                                         \
  F(copy_in, cuMemcpyHtoDAsync_v2, (cu_pointer, const void *, size_t, cu_handle))                    \
  F(copy_out, cuMemcpyDtoHAsync_v2, (void *, cu_pointer, size_t, cu_handle))                         \
  F(copy, cuMemcpyDtoDAsync_v2, (cu_pointer, cu_pointer, size_t, cu_handle))                         \
  F(stream_create, cuStreamCreate, (cu_handle *, unsigned))                                          \
  F(stream_destroy, cuStreamDestroy_v2, (cu_handle))                                                 \
  F(stream_wait, cuStreamSynchronize, (cu_handle))                                                   \
  F(launch, cuLaunchKernel,                                                                          \
    (cu_handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, cu_handle,     \
     void **, void **))                                                                              \
  F(event_create, cuEventCreate, (cu_handle *, unsigned))                                            \
  F(event_record, cuEventRecord, (cu_handle, cu_handle))                                             \
  F(event_elapsed, cuEventElapsedTime, (float *, cu_handle, cu_handle))                              \
  F(event_destroy, cuEventDestroy_v2, (cu_handle))                                                   \
  F(error_name, cuGetErrorName, (cu_result, const char **))

/* Left out by drivers before CUDA 11.4: then every kernel is launched on its own. */
#define MJ_DRIVER_GRAPHS(F)                                                                          \
  F(capture_begin, cuStreamBeginCapture_v2, (cu_handle, int))                                        \
  F(capture_end, cuStreamEndCapture, (cu_handle, cu_handle *))                                       \
  F(graph_make, cuGraphInstantiateWithFlags, (cu_handle *, cu_handle, unsigned long long))           \
  F(graph_launch, cuGraphLaunch, (cu_handle, cu_handle))                                             \
  F(graph_destroy, cuGraphDestroy, (cu_handle))                                                      \
  F(graph_free, cuGraphExecDestroy, (cu_handle))

#define MJ_DRIVER_MEMBER(name, symbol, arguments) cu_result(*name) arguments;
typedef struct {
  void *library;
  int has_graphs;
  MJ_DRIVER_FUNCTIONS(MJ_DRIVER_MEMBER)
  MJ_DRIVER_GRAPHS(MJ_DRIVER_MEMBER)
} mj_driver;
#undef MJ_DRIVER_MEMBER

/* Note one English line, as printf does, for mj_cuda_error. */
void mj_cuda_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The line noted last on this thread. */
const char *mj_cuda_error(void);

/* Open $MJ_LIBCUDA or libcuda.so.1 and find every function. 0, or -1 with the reason noted. */
int mj_driver_open(mj_driver *driver);
void mj_driver_close(mj_driver *driver);
/* Whether `result` is success; if not, note that `what` failed and why. */
int mj_driver_ok(const mj_driver *driver, cu_result result, const char *what);

#endif
