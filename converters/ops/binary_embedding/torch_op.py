"""torch form of ``binary_embedding``."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op("mj::binary_embedding", mutates_args=())
def binary_embedding_op(ids: Tensor, w: Tensor, scale: Tensor) -> Tensor:
    """Eager reference; see the package docstring."""
    rows = ids.long().clamp(0, w.shape[0] - 1)
    return w[rows].to(scale.dtype) * scale[rows][..., None]


@binary_embedding_op.register_fake
def _(ids, w, scale):  # type: ignore[no-untyped-def]
    return scale.new_empty((*ids.shape, w.shape[1]))


def _setup(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs)


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    """The scales learn; the signs are constants."""
    ids, w, scale = ctx.saved_tensors
    rows = ids.long().clamp(0, w.shape[0] - 1).flatten()
    per_id = (grad * w[rows].reshape(grad.shape).to(grad.dtype)).sum(-1).flatten()
    return None, None, torch.zeros_like(scale).index_add(0, rows, per_id)


binary_embedding_op.register_autograd(_backward, setup_context=_setup)


def binary_embedding(ids: Tensor, w: Tensor, scale: Tensor) -> Tensor:
    """ids [...] int32 or int64, w int8 [V, H], scale [V] → [..., H]; gradients reach the scale."""
    return binary_embedding_op(ids, w, scale)
