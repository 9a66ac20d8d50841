/* Running a program on a GPU: inputs over, launches in order, outputs back. */
#include <stdlib.h>

#include "mj_cuda.h"
#include "mj_device.h"

static int launch(const mj_cuda_program *program, mj_device *d, uint32_t bank, uint32_t call) {
  const mj_driver *cu = &d->driver;
  const mj_cuda_call *c = &program->calls[call];
  for (uint32_t i = c->first_launch; i < c->first_launch + c->n_launches; i++) {
    const mj_cuda_launch *l = &program->launches[i];
    const cu_result result =
        cu->launch(d->functions[l->symbol], l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1],
                   l->block[2], l->shared, d->stream, d->arguments[bank] + l->first_argument, NULL);
    if (!mj_driver_ok(cu, result, program->symbols[l->symbol])) return 0;
  }
  return 1;
}

/* Outputs that no kernel writes. */
static int copy_outputs(const mj_context *ctx, mj_device *d) {
  const mj_cuda_program *program = mj_cuda_program_of(ctx);
  for (uint32_t i = 0; i < program->n_copies; i++) {
    /* the places of copies stand behind those of all launches */
    const uint32_t at = program->n_arguments - 2u * (program->n_copies - i);
    const cu_pointer *values = d->values[ctx->bank];
    if (!mj_driver_ok(&d->driver,
                      d->driver.copy(values[at], values[at + 1u], program->copies[i].bytes, d->stream),
                      "cuMemcpyDtoD")) {
      return 0;
    }
  }
  return 1;
}

static int launch_all(mj_context *ctx, mj_device *d) {
  const mj_cuda_program *program = mj_cuda_program_of(ctx);
  for (uint32_t i = 0; i < program->n_calls;) {
    const uint32_t replaced = mj_cuda_replaced(ctx, d, i);
    if (replaced == 0 && !launch(program, d, ctx->bank, i)) {
      ctx->failed_kernel = (int32_t)i;
      return 0;
    }
    i += replaced > 0 ? replaced : 1u;
  }
  return copy_outputs(ctx, d);
}

/* The sequence as one graph, captured at the first run of either bank; 0 if the driver declines. */
static int launch_graph(mj_context *ctx, mj_device *d) {
  const mj_driver *cu = &d->driver;
  cu_handle *graph = &d->graphs[ctx->bank];
  if (*graph == NULL && !d->no_graphs) {
    cu_handle captured = NULL;
    if (cu->capture_begin(d->stream, CU_CAPTURE_THREAD) == 0) {
      const int launched = launch_all(ctx, d);
      const int ended = cu->capture_end(d->stream, &captured) == 0;
      if (!launched || !ended || cu->graph_make(graph, captured, 0) != 0) *graph = NULL;
      if (captured != NULL) cu->graph_destroy(captured);
    }
    ctx->failed_kernel = -1;
    if (*graph == NULL) d->no_graphs = 1;
  }
  return *graph != NULL && cu->graph_launch(*graph, d->stream) == 0;
}

/* One kernel after the other, each finished and its results fetched before its hook is called. */
static mj_status run_hooked(mj_context *ctx, mj_device *d) {
  const mj_cuda_program *program = mj_cuda_program_of(ctx);
  for (uint32_t i = 0; i < program->n_calls; i++) {
    const uint32_t replaced = mj_cuda_replaced(ctx, d, i);
    if (replaced > 0) {
      i += replaced - 1u;
      continue;
    }
    ctx->hook(ctx->hook_user, i, 0);
    if (!launch(program, d, ctx->bank, i)) {
      ctx->failed_kernel = (int32_t)i;
      return MJ_ERR_DEVICE;
    }
    const mj_cuda_call *call = &program->calls[i];
    for (uint32_t w = call->first_write; w < call->first_write + call->n_writes; w++) {
      const mj_status status = mj_cuda_ops.fetch(ctx, program->writes[w].offset, program->writes[w].bytes);
      if (status != MJ_OK) {
        ctx->failed_kernel = (int32_t)i;
        return status;
      }
    }
    ctx->hook(ctx->hook_user, i, 1);
  }
  return copy_outputs(ctx, d) ? MJ_OK : MJ_ERR_DEVICE;
}

static int make_events(mj_device *d, uint32_t count) {
  if (d->events != NULL) return 1;
  d->events = calloc(count, sizeof *d->events);
  if (d->events == NULL) {
    mj_cuda_say("out of memory");
    return 0;
  }
  for (uint32_t i = 0; i < count; i++) {
    if (!mj_driver_ok(&d->driver, d->driver.event_create(&d->events[i], 0), "cuEventCreate")) return 0;
  }
  return 1;
}

/* An event between every two kernels; the gaps between launches count to the kernel in front. */
static int run_timed(mj_context *ctx, mj_device *d) {
  const mj_cuda_program *program = mj_cuda_program_of(ctx);
  const mj_driver *cu = &d->driver;
  if (!make_events(d, program->n_calls + 1u)) return 0;
  uint32_t behind = 0; /* kernels before this one are calculated */
  for (uint32_t i = 0; i <= program->n_calls; i++) {
    if (!mj_driver_ok(cu, cu->event_record(d->events[i], d->stream), "cuEventRecord")) return 0;
    if (i == program->n_calls || i < behind) continue;
    behind = i + mj_cuda_replaced(ctx, d, i);
    if (behind == i && !launch(program, d, ctx->bank, i)) {
      ctx->failed_kernel = (int32_t)i;
      return 0;
    }
  }
  if (!copy_outputs(ctx, d) || !mj_driver_ok(cu, cu->stream_wait(d->stream), "cuStreamSynchronize")) return 0;
  for (uint32_t i = 0; i < program->n_calls; i++) {
    float ms = 0.0f;
    if (!mj_driver_ok(cu, cu->event_elapsed(&ms, d->events[i], d->events[i + 1u]), "cuEventElapsedTime")) return 0;
    ctx->kernel_ticks[i] += (uint64_t)((double)ms * 1e6);
  }
  return 1;
}

static mj_status run(mj_context *ctx, mj_device *d, const void *const *inputs, void *const *outputs) {
  const mj_model_desc *model = ctx->model;
  const mj_driver *cu = &d->driver;
  for (uint32_t i = 0; i < model->n_inputs; i++) {
    if (!mj_driver_ok(cu, cu->copy_in(d->inputs[i], inputs[i], model->inputs[i].bytes, d->stream),
                      "cuMemcpyHtoD")) {
      return MJ_ERR_DEVICE;
    }
  }
  if (ctx->hook != NULL) {
    const mj_status status = run_hooked(ctx, d);
    if (status != MJ_OK) return status;
  } else if (ctx->kernel_ticks != NULL) {
    if (!run_timed(ctx, d)) return MJ_ERR_DEVICE;
  } else if ((d->n_replaced > 0 || !launch_graph(ctx, d)) && !launch_all(ctx, d)) {
    return MJ_ERR_DEVICE;
  }
  for (uint32_t i = 0; i < model->n_outputs; i++) {
    if (!mj_driver_ok(cu, cu->copy_out(outputs[i], d->outputs[i], model->outputs[i].bytes, d->stream),
                      "cuMemcpyDtoH")) {
      return MJ_ERR_DEVICE;
    }
  }
  return mj_driver_ok(cu, cu->stream_wait(d->stream), "cuStreamSynchronize") ? MJ_OK : MJ_ERR_DEVICE;
}

/* Make the GPU's context current around `run` and copies, whatever the caller does with CUDA. */
static int enter(mj_device *d) {
  return d != NULL && mj_driver_ok(&d->driver, d->driver.context_push(d->context), "cuCtxPushCurrent");
}

static void leave(mj_device *d) {
  cu_handle popped;
  d->driver.context_pop(&popped);
}

mj_status mj_cuda_run(mj_context *ctx, const void *const *inputs, void *const *outputs) {
  mj_device *d = ctx->device;
  if (!enter(d)) return MJ_ERR_DEVICE;
  const mj_status status = run(ctx, d, inputs, outputs);
  leave(d);
  return status;
}

static mj_status move(mj_context *ctx, size_t offset, size_t bytes, int up) {
  mj_device *d = ctx->device;
  if (bytes == 0) return MJ_OK;
  if (!enter(d)) return MJ_ERR_DEVICE;
  const mj_driver *cu = &d->driver;
  void *here = ctx->arena + offset;
  const cu_result result = up ? cu->copy_in(d->memory + offset, here, bytes, d->stream)
                              : cu->copy_out(here, d->memory + offset, bytes, d->stream);
  const int ok = mj_driver_ok(cu, result, up ? "cuMemcpyHtoD" : "cuMemcpyDtoH") &&
                 mj_driver_ok(cu, cu->stream_wait(d->stream), "cuStreamSynchronize");
  leave(d);
  return ok ? MJ_OK : MJ_ERR_DEVICE;
}

static mj_status upload(mj_context *ctx, size_t offset, size_t bytes) { return move(ctx, offset, bytes, 1); }

static mj_status fetch(mj_context *ctx, size_t offset, size_t bytes) { return move(ctx, offset, bytes, 0); }

const mj_device_ops mj_cuda_ops = {mj_cuda_open, mj_cuda_close, upload, fetch, mj_cuda_error};
