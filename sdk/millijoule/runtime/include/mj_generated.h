/* What the generated entry file of a model is written in.
 *
 *   static mj_status entry(mj_context *ctx, const void *const *inputs, void *const *outputs) {
 *     MJ_CALL(ctx, 0, k_dense(MJ_INPUT(inputs, 0), MJ_WEIGHT(ctx, 0), MJ_ARENA(ctx, 256)));
 *     MJ_CALL(ctx, 1, k_relu(MJ_ARENA(ctx, 256), outputs[0]));
 *     return MJ_OK;
 *   }
 *
 * Compile with -DMJ_NO_HOOKS to leave profiling out of the smallest firmware altogether.
 */
#ifndef MJ_GENERATED_H
#define MJ_GENERATED_H

#include "millijoule.h"

/* Kernels take plain `void *`: the casts through uintptr_t drop `const` where a kernel only reads. */
#define MJ_INPUT(inputs, index) ((void *)(uintptr_t)(inputs)[index])
#define MJ_WEIGHT(ctx, offset) ((void *)(uintptr_t)((ctx)->weights + (offset)))
#define MJ_ARENA(ctx, offset) ((void *)((ctx)->arena + (offset)))

/* Note which kernel failed and say why: MJ_ERR_WORKSPACE or MJ_ERR_KERNEL. */
mj_status mj_kernel_failed(mj_context *ctx, uint32_t index);

#ifdef MJ_NO_HOOKS
#define MJ_CALL(ctx, index, call)                                  \
  do {                                                             \
    if ((call) != 0) return mj_kernel_failed((ctx), (index));      \
  } while (0)
#else
/* The clock is read inside the hooks, so that a hook's own work is never billed to a kernel. */
static inline uint64_t mj_kernel_begin(mj_context *ctx, uint32_t index) {
  if (ctx->hook != NULL) ctx->hook(ctx->hook_user, index, 0);
  return ctx->clock != NULL ? ctx->clock() : 0;
}

static inline void mj_kernel_end(mj_context *ctx, uint32_t index, uint64_t start) {
  if (ctx->clock != NULL) ctx->kernel_ticks[index] += ctx->clock() - start;
  if (ctx->hook != NULL) ctx->hook(ctx->hook_user, index, 1);
}

/* Call a kernel (an expression of type int32_t, 0 for success) as number `index` of the model. */
#define MJ_CALL(ctx, index, call)                                  \
  do {                                                             \
    const uint64_t mj_start = mj_kernel_begin((ctx), (index));     \
    if ((call) != 0) return mj_kernel_failed((ctx), (index));      \
    mj_kernel_end((ctx), (index), mj_start);                       \
  } while (0)
#endif

#endif
