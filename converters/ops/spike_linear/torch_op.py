"""torch form of ``spike_linear``."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op("mj::spike_linear", mutates_args=())
def spike_linear_op(s: Tensor, w: Tensor, bias: Tensor, binary: bool) -> Tensor:
    """Eager reference: a dense matrix product."""
    return torch.matmul(s.to(w.dtype), w) + bias


@spike_linear_op.register_fake
def _(s, w, bias, binary):  # type: ignore[no-untyped-def]
    return w.new_empty((*s.shape[:-1], w.shape[1]))


def _setup(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(inputs[0], inputs[1])


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    s, w = ctx.saved_tensors
    flat = grad.reshape(-1, grad.shape[-1])
    grad_s = grad @ w.T if s.is_floating_point() else None
    return grad_s, s.reshape(-1, s.shape[-1]).to(w.dtype).T @ flat, flat.sum(0), None


spike_linear_op.register_autograd(_backward, setup_context=_setup)


def spike_linear(s: Tensor, w: Tensor, bias: Tensor, *, binary: bool = True) -> Tensor:
    """s [B, N, K] spikes (float32 while training), w [K, O], bias [O] → [B, N, O]."""
    return spike_linear_op(s, w, bias, binary)
