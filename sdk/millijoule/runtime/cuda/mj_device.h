/* A program on one GPU; shared between mj_cuda.c and mj_open.c. */
#ifndef MJ_DEVICE_H
#define MJ_DEVICE_H

#include "mj_cuda.h"
#include "mj_driver.h"

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
} mj_device;

static inline const mj_cuda_program *mj_cuda_program_of(const mj_context *ctx) {
  return (const mj_cuda_program *)ctx->model->device_program;
}

mj_status mj_cuda_open(mj_context *ctx);
void mj_cuda_close(mj_context *ctx);

#endif
