/* Regions: dense parts of a program for NVIDIA GPUs that something else may calculate, such as an engine of
 * TensorRT. `mj build --split tensorrt` cuts them out before operators are fused, so that no kernel belongs to
 * a region and to the rest; `mj inspect` lists them with what they take and give.
 *
 *   static int engine(void *user, void *stream, const uint64_t *in, const uint64_t *out) {
 *     return my_enqueue(user, (CUstream)stream, in[0], out[0]);
 *   }
 *   mj_set_region(&ctx, 0, engine, &mine);   mj_run(&ctx, inputs, outputs);
 */
#ifndef MJ_REGION_H
#define MJ_REGION_H

#include "millijoule.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Called by mj_run in place of a region's kernels, with the GPU's primary context current. It puts work on
 * `stream` (a CUstream, which is a cudaStream_t) that reads the tensors at `inputs` and writes those at
 * `outputs` in full: addresses in the GPU's memory (CUdeviceptr), dense row-major, in the order, shapes and
 * types that the manifest's split.regions gives. They need not be what they were the last time. It need not
 * wait for the stream. Non-zero: it put down nothing of use, and the region's own kernels run instead. */
typedef int (*mj_region)(void *user, void *stream, const uint64_t *inputs, const uint64_t *outputs);

/* Let `run` calculate region `index` from now on; NULL gives it back to its kernels. While any region has a
 * callback, kernels are launched one by one, not as a CUDA graph; hooks (mj_set_hook) are not called for the
 * kernels that a callback stands for, and mj_set_clock counts its time to the first of them.
 * MJ_ERR_ARGUMENT: no such region, or one that was refused when the program was built. */
mj_status mj_set_region(mj_context *ctx, uint32_t index, mj_region run, void *user);
/* Number of regions of the program, refused ones included. */
uint32_t mj_regions(const mj_context *ctx);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
