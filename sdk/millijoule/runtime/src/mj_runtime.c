/* Contexts, states, running, hooks. The only libc calls here are memcpy and memset. */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */

#include <string.h>
#ifndef MJ_BARE_METAL
#include <time.h>
#endif

#include "mj_generated.h"
#include "mj_internal.h"

/* Pointers that mj_run puts on the stack: inputs plus states, and outputs plus states. */
#ifndef MJ_MAX_TENSORS
#define MJ_MAX_TENSORS 128u
#endif

MJ_THREAD_LOCAL mj_context *mj_current;

static int aligned(const void *pointer) { return (uintptr_t)pointer % MJ_ALIGNMENT == 0; }

static int fits(size_t offset, size_t bytes, size_t total) {
  return offset <= total && bytes <= total - offset;
}

/* Do the descriptor's own numbers agree? A builder bug must not become a stray write on a device. */
static int consistent(const mj_model_desc *model) {
  size_t bank = 0;
  for (uint32_t i = 0; i < model->n_states; i++) {
    const mj_tensor *state = &model->states[i];
    if (state->initial >= 0 &&
        !fits((size_t)state->initial, state->bytes, model->weights_bytes)) {
      return 0;
    }
    bank += mj_align_up(state->bytes);
  }
  for (uint32_t i = 0; i < model->n_dims && i < MJ_MAX_DIMS; i++) {
    if (model->dims == NULL || model->dims[i].min < 1 ||
        model->dims[i].max < model->dims[i].min) {
      return 0;
    }
  }
  if (model->n_dims > MJ_MAX_DIMS || (model->n_dims > 0 && model->extent == NULL)) return 0;
  return model->entry != NULL && bank <= model->state_bytes &&
         model->state_bytes % MJ_ALIGNMENT == 0 && model->state_offset % MJ_ALIGNMENT == 0 &&
         model->workspace_offset % MJ_ALIGNMENT == 0 &&
         fits(model->workspace_offset, model->workspace_bytes, model->arena_bytes) &&
         fits(model->state_offset, model->state_bytes, model->arena_bytes) &&
         fits(model->state_offset + model->state_bytes, model->state_bytes, model->arena_bytes);
}

static mj_status check(const mj_model_desc *model, const void *weights, size_t weights_bytes,
                       const void *arena, size_t arena_bytes) {
  if (model == NULL) return MJ_ERR_ARGUMENT;
  if (model->abi_version != MJ_ABI_VERSION || !consistent(model)) return MJ_ERR_ABI;
  if (model->n_inputs > MJ_MAX_TENSORS || model->n_outputs > MJ_MAX_TENSORS ||
      model->n_states > MJ_MAX_TENSORS - model->n_inputs ||
      model->n_states > MJ_MAX_TENSORS - model->n_outputs) {
    return MJ_ERR_LIMIT;
  }
  if (model->weights_bytes > 0 &&
      (weights == NULL || !aligned(weights) || weights_bytes < model->weights_bytes)) {
    return MJ_ERR_WEIGHTS;
  }
  if (model->arena_bytes > 0 &&
      (arena == NULL || !aligned(arena) || arena_bytes < model->arena_bytes)) {
    return MJ_ERR_ARENA;
  }
  return MJ_OK;
}

size_t mj_context_size(void) { return sizeof(mj_context); }

mj_status mj_init(mj_context *ctx, const mj_model_desc *model, const void *weights,
                  size_t weights_bytes, void *arena, size_t arena_bytes) {
  if (ctx == NULL) return MJ_ERR_ARGUMENT;
  memset(ctx, 0, sizeof *ctx);
  ctx->failed_kernel = -1;
  const mj_status status = check(model, weights, weights_bytes, arena, arena_bytes);
  if (status != MJ_OK) return status;
  ctx->model = model;
  ctx->weights = weights;
  ctx->arena = arena;
  for (uint32_t i = 0; i < model->n_dims; i++) ctx->sizes[i] = model->dims[i].max;
  if (model->device != NULL) {
    const mj_status opened = model->device->open(ctx);
    if (opened != MJ_OK) {
      ctx->model = NULL;
      return opened;
    }
  }
  const mj_status reset = mj_reset(ctx);
  if (reset != MJ_OK) mj_deinit(ctx);
  return reset;
}

static uint8_t *state_bank(const mj_context *ctx, uint32_t bank) {
  return ctx->arena + ctx->model->state_offset + bank * ctx->model->state_bytes;
}

mj_status mj_reset(mj_context *ctx) {
  if (ctx == NULL || ctx->model == NULL) return MJ_ERR_ARGUMENT;
  const mj_model_desc *model = ctx->model;
  ctx->bank = 0;
  if (model->n_states == 0) return MJ_OK;
  uint8_t *value = state_bank(ctx, 0);
  for (uint32_t i = 0; i < model->n_states; i++) {
    const mj_tensor *state = &model->states[i];
    if (state->initial < 0) {
      memset(value, 0, state->bytes);
    } else {
      memcpy(value, ctx->weights + state->initial, state->bytes);
    }
    value += mj_align_up(state->bytes);
  }
  return model->device == NULL ? MJ_OK
                               : model->device->upload(ctx, model->state_offset, model->state_bytes);
}

void *mj_state(mj_context *ctx, uint32_t index) {
  if (ctx == NULL || ctx->model == NULL || index >= ctx->model->n_states) return NULL;
  uint8_t *value = state_bank(ctx, ctx->bank);
  for (uint32_t i = 0; i < index; i++) value += mj_align_up(ctx->model->states[i].bytes);
  if (ctx->model->device != NULL &&
      ctx->model->device->fetch(ctx, (size_t)(value - ctx->arena), ctx->model->states[index].bytes) != MJ_OK) {
    return NULL;
  }
  return value;
}

static mj_status run_stateful(mj_context *ctx, const void *const *inputs, void *const *outputs) {
  const mj_model_desc *model = ctx->model;
  const void *sources[MJ_MAX_TENSORS];
  void *sinks[MJ_MAX_TENSORS];
  uint8_t *now = state_bank(ctx, ctx->bank);
  uint8_t *next = state_bank(ctx, ctx->bank ^ 1u);
  for (uint32_t i = 0; i < model->n_inputs; i++) sources[i] = inputs[i];
  for (uint32_t i = 0; i < model->n_outputs; i++) sinks[i] = outputs[i];
  for (uint32_t i = 0; i < model->n_states; i++) {
    sources[model->n_inputs + i] = now;
    sinks[model->n_outputs + i] = next;
    now += mj_align_up(model->states[i].bytes);
    next += mj_align_up(model->states[i].bytes);
  }
  const mj_status status = model->entry(ctx, sources, sinks);
  if (status == MJ_OK) ctx->bank ^= 1u;
  return status;
}

static mj_status check_pointers(const mj_context *ctx, const void *const *inputs,
                                void *const *outputs) {
  if (ctx == NULL || ctx->model == NULL) return MJ_ERR_ARGUMENT;
  const mj_model_desc *model = ctx->model;
  if ((inputs == NULL && model->n_inputs > 0) || (outputs == NULL && model->n_outputs > 0)) {
    return MJ_ERR_ARGUMENT;
  }
  for (uint32_t i = 0; i < model->n_inputs; i++) {
    if (inputs[i] == NULL) return MJ_ERR_ARGUMENT;
  }
  for (uint32_t i = 0; i < model->n_outputs; i++) {
    if (outputs[i] == NULL) return MJ_ERR_ARGUMENT;
  }
  return MJ_OK;
}

/* NaN and infinity are what has an exponent of ones; integers are always finite. Counts instead of
 * stopping at the first: the answer is nearly always yes, and a loop without exits is faster. */
static int finite(mj_dtype dtype, const void *data, size_t bytes) {
  uint32_t found = 0;
  if (dtype == MJ_FLOAT32) {
    const uint32_t *bits = data, *end = bits + bytes / sizeof *bits;
    while (bits < end) found += (*bits++ & 0x7f800000u) == 0x7f800000u;
  } else if (dtype == MJ_FLOAT16) {
    const uint16_t *bits = data, *end = bits + bytes / sizeof *bits;
    while (bits < end) found += (*bits++ & 0x7c00u) == 0x7c00u;
  }
  return found == 0;
}

static mj_status run(mj_context *ctx, const void *const *inputs, void *const *outputs) {
  const mj_model_desc *model = ctx->model;
  ctx->failed_kernel = -1;
  mj_workspace_reset(ctx);
  mj_context *outer = mj_current; /* a hook may run another model */
  mj_current = ctx;
  const mj_status status = model->n_states > 0 ? run_stateful(ctx, inputs, outputs)
                                               : model->entry(ctx, inputs, outputs);
  mj_current = outer;
  return status;
}

mj_status mj_run(mj_context *ctx, const void *const *inputs, void *const *outputs) {
  const mj_status status = check_pointers(ctx, inputs, outputs);
  return status == MJ_OK ? run(ctx, inputs, outputs) : status;
}

mj_status mj_run_finite(mj_context *ctx, const void *const *inputs, void *const *outputs) {
  const mj_status status = check_pointers(ctx, inputs, outputs);
  if (status != MJ_OK) return status;
  for (uint32_t i = 0; i < ctx->model->n_inputs; i++) {
    const mj_tensor *tensor = &ctx->model->inputs[i];
    const size_t bytes = ctx->model->n_dims > 0 ? mj_tensor_bytes(ctx, i) : tensor->bytes;
    if (!finite(tensor->dtype, inputs[i], bytes)) return MJ_ERR_NOT_FINITE;
  }
  return run(ctx, inputs, outputs);
}

mj_status mj_kernel_failed(mj_context *ctx, uint32_t index) {
  ctx->failed_kernel = (int32_t)index;
  return ctx->workspace_exhausted ? MJ_ERR_WORKSPACE : MJ_ERR_KERNEL;
}

int32_t mj_failed_kernel(const mj_context *ctx) { return ctx == NULL ? -1 : ctx->failed_kernel; }

size_t mj_workspace_peak(const mj_context *ctx) { return ctx == NULL ? 0 : ctx->workspace_peak; }

void mj_set_hook(mj_context *ctx, mj_hook hook, void *user) {
  if (ctx == NULL) return;
  ctx->hook = hook;
  ctx->hook_user = user;
}

#ifdef MJ_BARE_METAL
static const mj_clock platform_clock = NULL; /* every chip has its own: the caller brings one */
#else
static uint64_t platform_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
#endif

mj_status mj_set_clock(mj_context *ctx, mj_clock clock, uint64_t *ticks) {
  if (ctx == NULL) return MJ_ERR_ARGUMENT;
  const mj_clock chosen = clock != NULL ? clock : platform_clock;
  if (ticks != NULL && chosen == NULL) return MJ_ERR_ARGUMENT;
  ctx->clock = ticks != NULL ? chosen : NULL;
  ctx->kernel_ticks = ticks;
  return MJ_OK;
}

mj_status mj_set_threads(mj_context *ctx, int threads) {
  if (ctx == NULL || threads < 1) return MJ_ERR_ARGUMENT;
  return mj_pool_resize(ctx, threads);
}

int mj_threads(const mj_context *ctx) { return ctx == NULL ? 1 : mj_pool_threads(ctx); }

void mj_deinit(mj_context *ctx) {
  if (ctx == NULL) return;
  (void)mj_pool_resize(ctx, 1); /* going down to one thread cannot fail */
  if (ctx->model != NULL && ctx->model->device != NULL) ctx->model->device->close(ctx);
  ctx->model = NULL;
}

const char *mj_device_error(const mj_model_desc *model) {
  return model == NULL || model->device == NULL ? "" : model->device->error();
}

const char *mj_status_string(mj_status status) {
  switch (status) {
    case MJ_OK: return "success";
    case MJ_ERR_ARGUMENT: return "a pointer is NULL or a count is out of range";
    case MJ_ERR_ABI: return "the model was built for another version of this runtime";
    case MJ_ERR_WEIGHTS: return "the weights are too small or not aligned to MJ_ALIGNMENT";
    case MJ_ERR_ARENA: return "the arena is too small or not aligned to MJ_ALIGNMENT";
    case MJ_ERR_KERNEL: return "a kernel failed";
    case MJ_ERR_WORKSPACE: return "a kernel needs more workspace than was planned";
    case MJ_ERR_THREADS: return "threads could not be started, or this build has none";
    case MJ_ERR_LIMIT: return "the model has more tensors than MJ_MAX_TENSORS allows";
    case MJ_ERR_NOT_FINITE: return "an input holds NaN or infinity";
    case MJ_ERR_DEVICE: return "the GPU or its driver failed";
  }
  return "unknown status";
}
