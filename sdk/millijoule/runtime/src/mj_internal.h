/* Shared between the runtime's own files; not installed for users. */
#ifndef MJ_INTERNAL_H
#define MJ_INTERNAL_H

#include "millijoule.h"

#if defined(MJ_BARE_METAL) && !defined(MJ_NO_THREADS)
#define MJ_NO_THREADS 1
#endif

#ifdef MJ_NO_THREADS
#define MJ_THREAD_LOCAL
#else
#define MJ_THREAD_LOCAL _Thread_local
#endif

/* The context whose kernels this thread is running; NULL outside mj_run and on pool threads. */
extern MJ_THREAD_LOCAL mj_context *mj_current;

static inline size_t mj_align_up(size_t bytes) {
  return (bytes + (MJ_ALIGNMENT - 1u)) & ~(size_t)(MJ_ALIGNMENT - 1u);
}

/* Forget every allocation of the run before. */
void mj_workspace_reset(mj_context *ctx);

/* Replace the context's pool by one of `threads` threads; 1 means none. On failure the old pool stays. */
mj_status mj_pool_resize(mj_context *ctx, int threads);
int mj_pool_threads(const mj_context *ctx);

#endif
