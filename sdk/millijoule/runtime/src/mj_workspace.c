/* Kernel workspace: a stack in the arena, planned at build time, so running never allocates. */
#include "mj_backend.h"
#include "mj_internal.h"

void mj_workspace_reset(mj_context *ctx) {
  ctx->workspace_used = 0;
  ctx->workspace_exhausted = 0;
}

static uint8_t *workspace(const mj_context *ctx) {
  return ctx->arena + ctx->model->workspace_offset;
}

void *TVMBackendAllocWorkspace(int device_type, int device_id, uint64_t bytes, int dtype_code,
                               int dtype_bits) {
  mj_context *ctx = mj_current;
  (void)device_type, (void)device_id, (void)dtype_code, (void)dtype_bits;
  if (ctx == NULL) return NULL;
  const size_t free_bytes = ctx->model->workspace_bytes - ctx->workspace_used;
  /* Compared before rounding up, which could overflow. */
  if (bytes > free_bytes || mj_align_up((size_t)bytes) > free_bytes) {
    ctx->workspace_exhausted = 1;
    return NULL;
  }
  void *pointer = workspace(ctx) + ctx->workspace_used;
  ctx->workspace_used += mj_align_up((size_t)bytes);
  if (ctx->workspace_used > ctx->workspace_peak) ctx->workspace_peak = ctx->workspace_used;
  return pointer;
}

int TVMBackendFreeWorkspace(int device_type, int device_id, void *pointer) {
  mj_context *ctx = mj_current;
  (void)device_type, (void)device_id;
  if (ctx == NULL) return -1;
  const uintptr_t base = (uintptr_t)workspace(ctx);
  const uintptr_t address = (uintptr_t)pointer;
  if (address < base || address > base + ctx->workspace_used) return -1;
  ctx->workspace_used = address - base;
  return 0;
}

void *(*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int) = TVMBackendAllocWorkspace;
int (*__TVMBackendFreeWorkspace)(int, int, void *) = TVMBackendFreeWorkspace;
