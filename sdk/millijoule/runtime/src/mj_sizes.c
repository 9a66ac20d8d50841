/* Sizes that vary from run to run: kernels get the current ones, memory is planned for the largest. */
#include "millijoule.h"

static const mj_tensor *tensor_of(const mj_context *ctx, uint32_t tensor) {
  if (ctx == NULL || ctx->model == NULL) return NULL;
  const mj_model_desc *model = ctx->model;
  if (tensor < model->n_inputs) return &model->inputs[tensor];
  tensor -= model->n_inputs;
  return tensor < model->n_outputs ? &model->outputs[tensor] : NULL;
}

mj_status mj_set_size(mj_context *ctx, uint32_t dim, int64_t size) {
  if (ctx == NULL || ctx->model == NULL || dim >= ctx->model->n_dims) return MJ_ERR_ARGUMENT;
  const mj_dim *bounds = &ctx->model->dims[dim];
  if (size < bounds->min || size > bounds->max) return MJ_ERR_ARGUMENT;
  ctx->sizes[dim] = (int32_t)size;
  return MJ_OK;
}

int64_t mj_size(const mj_context *ctx, uint32_t dim) {
  if (ctx == NULL || ctx->model == NULL || dim >= ctx->model->n_dims) return -1;
  return ctx->sizes[dim];
}

int64_t mj_extent(const mj_context *ctx, uint32_t tensor, uint32_t axis) {
  const mj_tensor *found = tensor_of(ctx, tensor);
  if (found == NULL || axis >= found->rank) return -1;
  const mj_model_desc *model = ctx->model;
  const int64_t size = model->n_dims > 0 ? model->extent(ctx->sizes, tensor, axis) : -1;
  return size >= 0 ? size : found->shape[axis];
}

size_t mj_tensor_bytes(const mj_context *ctx, uint32_t tensor) {
  const mj_tensor *found = tensor_of(ctx, tensor);
  if (found == NULL) return 0;
  size_t largest = 1, now = 1; /* elements */
  for (uint32_t axis = 0; axis < found->rank; axis++) {
    largest *= (size_t)found->shape[axis];
    now *= (size_t)mj_extent(ctx, tensor, axis);
  }
  return largest > 0 ? found->bytes / largest * now : 0;
}
