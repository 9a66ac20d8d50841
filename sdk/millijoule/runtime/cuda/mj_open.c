/* Getting a GPU ready: its context, the machine code that fits it, memory, and every argument's address. */
#include <stdlib.h>
#include <string.h>

#include "mj_device.h"
#include "mj_internal.h"

#define PLACE 256u /* alignment of everything in the GPU's memory */

static size_t place(size_t bytes) { return (bytes + (PLACE - 1u)) & ~(size_t)(PLACE - 1u); }

/* The image for the newest GPU of the same generation that is not newer than this one. */
static const mj_cuda_image *choose(const mj_cuda_program *program, int sm) {
  const mj_cuda_image *best = NULL;
  for (uint32_t i = 0; i < program->n_images; i++) {
    const mj_cuda_image *image = &program->images[i];
    if (image->sm / 10 == sm / 10 && image->sm <= sm && (best == NULL || image->sm > best->sm)) {
      best = image;
    }
  }
  if (best == NULL && program->n_images > 0) {
    mj_cuda_say("the GPU is sm_%d, but the program has code for sm_%d; rebuild it for this GPU's target", sm,
                program->images[0].sm);
  }
  return best;
}

static int open_context(mj_device *d) {
  const mj_driver *cu = &d->driver;
  int count = 0;
  if (!mj_driver_ok(cu, cu->init(0), "cuInit") ||
      !mj_driver_ok(cu, cu->device_count(&count), "cuDeviceGetCount")) {
    return 0;
  }
  const char *chosen = getenv("MJ_CUDA_DEVICE");
  const int index = chosen == NULL ? 0 : atoi(chosen);
  if (index < 0 || index >= count) {
    mj_cuda_say("there are %d GPUs, but number %d is asked for; see MJ_CUDA_DEVICE", count, index);
    return 0;
  }
  return mj_driver_ok(cu, cu->device_get(&d->gpu, index), "cuDeviceGet") &&
         mj_driver_ok(cu, cu->context_retain(&d->context, d->gpu), "cuDevicePrimaryCtxRetain");
}

static int load_code(mj_device *d, const mj_cuda_program *program) {
  const mj_driver *cu = &d->driver;
  int major = 0, minor = 0;
  if (!mj_driver_ok(cu, cu->device_attribute(&major, CU_MAJOR, d->gpu), "cuDeviceGetAttribute") ||
      !mj_driver_ok(cu, cu->device_attribute(&minor, CU_MINOR, d->gpu), "cuDeviceGetAttribute")) {
    return 0;
  }
  const mj_cuda_image *image = choose(program, 10 * major + minor);
  if (image == NULL || !mj_driver_ok(cu, cu->module_load(&d->module, image->code), "cuModuleLoadData")) {
    return 0;
  }
  for (uint32_t i = 0; i < program->n_symbols; i++) {
    if (!mj_driver_ok(cu, cu->module_function(&d->functions[i], d->module, program->symbols[i]),
                      program->symbols[i])) {
      return 0;
    }
  }
  for (uint32_t i = 0; i < program->n_launches; i++) {
    const mj_cuda_launch *launch = &program->launches[i];
    cu_handle function = d->functions[launch->symbol];
    if (launch->shared > 0 &&
        !mj_driver_ok(cu, cu->function_attribute(function, CU_DYNAMIC_SHARED, (int)launch->shared),
                      "cuFuncSetAttribute")) {
      return 0;
    }
  }
  return 1;
}

static int get_memory(mj_context *ctx, mj_device *d) {
  const mj_model_desc *model = ctx->model;
  const mj_driver *cu = &d->driver;
  size_t offset = place(model->arena_bytes);
  for (uint32_t i = 0; i < model->n_inputs; i++) {
    d->inputs[i] = offset;
    offset += place(model->inputs[i].bytes);
  }
  for (uint32_t i = 0; i < model->n_outputs; i++) {
    d->outputs[i] = offset;
    offset += place(model->outputs[i].bytes);
  }
  d->weights = offset;
  offset += place(model->weights_bytes);
  const cu_result got = cu->memory_alloc(&d->memory, offset == 0 ? PLACE : offset);
  if (got == CU_OUT_OF_MEMORY) {
    mj_cuda_say("the GPU has no %zu bytes of memory left, which the program needs", offset);
    return 0;
  }
  if (!mj_driver_ok(cu, got, "cuMemAlloc")) return 0;
  for (uint32_t i = 0; i < model->n_inputs; i++) d->inputs[i] += d->memory;
  for (uint32_t i = 0; i < model->n_outputs; i++) d->outputs[i] += d->memory;
  d->weights += d->memory;
  return model->weights_bytes == 0 ||
         (mj_driver_ok(cu, cu->copy_in(d->weights, ctx->weights, model->weights_bytes, d->stream), "cuMemcpyHtoD") &&
          mj_driver_ok(cu, cu->stream_wait(d->stream), "cuStreamSynchronize"));
}

/* Where in the arena state `index` lies in `bank`. */
static size_t state_offset(const mj_model_desc *model, uint32_t index, uint32_t bank) {
  size_t offset = model->state_offset + bank * model->state_bytes;
  for (uint32_t i = 0; i < index; i++) offset += mj_align_up(model->states[i].bytes);
  return offset;
}

static cu_pointer address(const mj_context *ctx, const mj_device *d, mj_cuda_place at, uint32_t bank) {
  const mj_model_desc *model = ctx->model;
  const uint32_t index = (uint32_t)at.offset;
  switch (at.space) {
    case MJ_AT_WEIGHTS: return d->weights + at.offset;
    case MJ_AT_INPUT:
      if (index < model->n_inputs) return d->inputs[index];
      return d->memory + state_offset(model, index - model->n_inputs, bank);
    case MJ_AT_OUTPUT:
      if (index < model->n_outputs) return d->outputs[index];
      return d->memory + state_offset(model, index - model->n_outputs, bank ^ 1u);
    default: return d->memory + at.offset;
  }
}

static void find_arguments(const mj_context *ctx, mj_device *d) {
  const mj_cuda_program *program = mj_cuda_program_of(ctx);
  for (uint32_t bank = 0; bank < 2; bank++) {
    for (uint32_t i = 0; i < program->n_arguments; i++) {
      d->values[bank][i] = address(ctx, d, program->arguments[i], bank);
      d->arguments[bank][i] = &d->values[bank][i];
    }
  }
}

/* Everything that is sized by the program, in one piece behind the struct. */
static mj_device *make(const mj_model_desc *model) {
  const mj_cuda_program *program = (const mj_cuda_program *)model->device_program;
  const size_t arguments = program->n_arguments;
  const size_t slots =
      (size_t)program->n_symbols + model->n_inputs + model->n_outputs + 4u * arguments + 2u * program->n_regions;
  mj_device *d = calloc(1, sizeof *d + slots * sizeof(cu_pointer));
  if (d == NULL) return NULL;
  cu_pointer *next = (cu_pointer *)(d + 1); /* a handle is as large as an address of the GPU */
  d->functions = (cu_handle *)next;
  d->inputs = next + program->n_symbols;
  d->outputs = d->inputs + model->n_inputs;
  next = d->outputs + model->n_outputs;
  for (int bank = 0; bank < 2; bank++, next += 2u * arguments) {
    d->values[bank] = next;
    d->arguments[bank] = (void **)(next + arguments);
  }
  d->replacements = (mj_replacement *)next;
  return d;
}

_Static_assert(sizeof(cu_handle) == sizeof(cu_pointer), "CUDA wants a 64-bit system");
_Static_assert(sizeof(mj_replacement) == 2 * sizeof(cu_pointer), "a callback takes two slots");

mj_status mj_cuda_open(mj_context *ctx) {
  mj_device *d = make(ctx->model);
  if (d == NULL) {
    mj_cuda_say("out of memory");
    return MJ_ERR_DEVICE;
  }
  ctx->device = d;
  const mj_driver *cu = &d->driver;
  int ok = mj_driver_open(&d->driver) == 0 && open_context(d) &&
           mj_driver_ok(cu, cu->context_push(d->context), "cuCtxPushCurrent");
  if (ok) {
    const unsigned non_blocking = 1;
    ok = mj_driver_ok(cu, cu->stream_create(&d->stream, non_blocking), "cuStreamCreate") &&
         load_code(d, mj_cuda_program_of(ctx)) && get_memory(ctx, d);
    cu_handle popped;
    cu->context_pop(&popped);
  }
  if (!ok) {
    mj_cuda_close(ctx);
    return MJ_ERR_DEVICE;
  }
  const char *graphs = getenv("MJ_CUDA_GRAPHS");
  d->no_graphs = !cu->has_graphs || (graphs != NULL && strcmp(graphs, "0") == 0);
  find_arguments(ctx, d);
  return MJ_OK;
}

void mj_cuda_close(mj_context *ctx) {
  mj_device *d = ctx->device;
  if (d == NULL) return;
  const mj_driver *cu = &d->driver;
  if (d->context != NULL && cu->context_push(d->context) == 0) {
    for (int bank = 0; bank < 2; bank++) {
      if (d->graphs[bank] != NULL) cu->graph_free(d->graphs[bank]);
    }
    for (uint32_t i = 0; d->events != NULL && i <= mj_cuda_program_of(ctx)->n_calls; i++) {
      if (d->events[i] != NULL) cu->event_destroy(d->events[i]);
    }
    if (d->memory != 0) cu->memory_free(d->memory);
    if (d->module != NULL) cu->module_unload(d->module);
    if (d->stream != NULL) cu->stream_destroy(d->stream);
    cu_handle popped;
    cu->context_pop(&popped);
  }
  if (d->context != NULL) cu->context_release(d->gpu);
  mj_driver_close(&d->driver);
  free(d->events);
  free(d);
  ctx->device = NULL;
}
