/* A program on one GPU; shared between mj_cuda.c and mj_open.c. */
#ifndef MJ_DEVICE_H
#define MJ_DEVICE_H

#include "mj_cuda.h"
#include "mj_driver.h"
#include "mj_region.h"

/* What calculates a region in place of its kernels; `run` is NULL if they do. */
typedef struct {
  mj_region run;
  void *user;
} mj_replacement;

typedef struct {
  mj_driver driver;
  cu_device gpu;
  cu_handle context, module, stream;
  cu_handle *functions; /* one per symbol */
  cu_pointer memory;    /* arena, inputs, outputs, weights, in this order */
  cu_pointer *inputs, *outputs; /* the model's own, without states */
  cu_pointer weights;
  /* Arguments of every launch, for either bank of states: addresses, and pointers to these. */
  cu_pointer *values[2];
  void **arguments[2];
  cu_handle graphs[2]; /* the sequence of launches per bank, once captured */
  int no_graphs;
  cu_handle *events; /* n_calls + 1, made when kernels are timed for the first time */
  mj_replacement *replacements; /* one per region, of which n_replaced have a callback */
  uint32_t n_replaced;
} mj_device;

static inline const mj_cuda_program *mj_cuda_program_of(const mj_context *ctx) {
  return (const mj_cuda_program *)ctx->model->device_program;
}

/* Kernels, from number `call` on, that a callback calculated just now; 0: they are to be launched. */
uint32_t mj_cuda_replaced(const mj_context *ctx, mj_device *d, uint32_t call);

mj_status mj_cuda_open(mj_context *ctx);
void mj_cuda_close(mj_context *ctx);

#endif
