/* The symbols that TVM-compiled kernels import, with TVM's own types (tvm/runtime/c_backend_api.h).
 *
 * A kernel object holds weak pointer variables named `__TVMBackend...`; the runtime's definitions of the
 * same variables replace them at link time.
 */
#ifndef MJ_BACKEND_H
#define MJ_BACKEND_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  void *sync_handle;
  int32_t num_task;
} TVMParallelGroupEnv;

typedef int (*FTVMParallelLambda)(int task_id, TVMParallelGroupEnv *env, void *cdata);

/* `bytes` of scratch memory aligned to MJ_ALIGNMENT, or NULL when the planned workspace is used up.
 * To be called from the thread that called mj_run only: elsewhere the answer is NULL. */
void *TVMBackendAllocWorkspace(int device_type, int device_id, uint64_t bytes, int dtype_code,
                               int dtype_bits);
/* Give back the newest allocation (last in, first out) and all that came after it. */
int TVMBackendFreeWorkspace(int device_type, int device_id, void *pointer);
/* Run tasks 0..num_task-1 (0: one for each thread) and wait for them. The first non-zero result wins. */
int TVMBackendParallelLaunch(FTVMParallelLambda lambda, void *cdata, int num_task);
/* Wait until every task of the launch got here. Non-zero if tasks outnumber threads or one has failed. */
int TVMBackendParallelBarrier(int task_id, TVMParallelGroupEnv *env);

extern void *(*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int);
extern int (*__TVMBackendFreeWorkspace)(int, int, void *);
extern int (*__TVMBackendParallelLaunch)(FTVMParallelLambda, void *, int);
extern int (*__TVMBackendParallelBarrier)(int, TVMParallelGroupEnv *);

#ifdef __cplusplus
}
#endif
#endif
