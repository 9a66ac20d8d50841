/* Regions of a program that a callback of the caller's calculates. */
#include "mj_region.h"

#include "mj_device.h"

uint32_t mj_regions(const mj_context *ctx) {
  return ctx == NULL || ctx->model == NULL ? 0 : mj_cuda_program_of(ctx)->n_regions;
}

mj_status mj_set_region(mj_context *ctx, uint32_t index, mj_region run, void *user) {
  if (index >= mj_regions(ctx) || mj_cuda_program_of(ctx)->regions[index].n_calls == 0) return MJ_ERR_ARGUMENT;
  mj_device *d = ctx->device;
  mj_replacement *replacement = &d->replacements[index];
  d->n_replaced += (uint32_t)(run != NULL) - (uint32_t)(replacement->run != NULL);
  replacement->run = run;
  replacement->user = user;
  return MJ_OK;
}

uint32_t mj_cuda_replaced(const mj_context *ctx, mj_device *d, uint32_t call) {
  if (d->n_replaced == 0) return 0;
  const mj_cuda_program *program = mj_cuda_program_of(ctx);
  for (uint32_t i = 0; i < program->n_regions; i++) {
    const mj_cuda_region *region = &program->regions[i];
    const mj_replacement *by = &d->replacements[i];
    if (by->run == NULL || region->first_call != call) continue;
    const cu_pointer *inputs = d->values[ctx->bank] + region->first_place;
    return by->run(by->user, d->stream, inputs, inputs + region->n_inputs) == 0 ? region->n_calls : 0;
  }
  return 0;
}
