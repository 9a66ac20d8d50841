"""torch form of ``binary_linear``."""

from __future__ import annotations

import torch
from torch import Tensor


def _sums(x: Tensor, w: Tensor, activations: str) -> Tensor:
    """Σ_k a·w in the type of x: exact for signs, whose sums are below 2²⁴."""
    a = torch.sign(x) if activations == "sign" else x
    return torch.matmul(a, w.to(x.dtype).T)


@torch.library.custom_op("mj::binary_linear", mutates_args=())
def binary_linear_op(x: Tensor, w: Tensor, scale: Tensor, bias: Tensor, activations: str) -> Tensor:
    """Eager reference: a dense matrix product; see the package docstring."""
    return _sums(x, w, activations) * scale + bias


@binary_linear_op.register_fake
def _(x, w, scale, bias, activations):  # type: ignore[no-untyped-def]
    return x.new_empty((*x.shape[:-1], w.shape[0]))


def _setup(ctx, inputs, output):  # type: ignore[no-untyped-def]
    x, w, scale, _, activations = inputs
    ctx.save_for_backward(x, w, scale)
    ctx.activations = activations


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    """Straight through the sign: d sign(x)/dx := 1 where |x| ≤ 1. The signs w are constants."""
    x, w, scale = ctx.saved_tensors
    flat = grad.reshape(-1, grad.shape[-1])
    sums = _sums(x, w, ctx.activations).reshape(flat.shape)
    grad_scale = (flat * sums).sum(0)
    if scale.shape != grad_scale.shape:
        grad_scale = grad_scale.sum().reshape(scale.shape)
    grad_x = (grad * scale) @ w.to(x.dtype)
    if ctx.activations == "sign":
        grad_x = grad_x * (x.abs() <= 1)
    return grad_x, None, grad_scale, flat.sum(0), None


binary_linear_op.register_autograd(_backward, setup_context=_setup)


def binary_linear(
    x: Tensor, w: Tensor, scale: Tensor, bias: Tensor, *, activations: str = "sign"
) -> Tensor:
    """x [..., K], w int8 [O, K], scale [O] or [1], bias [O] → [..., O].

    Gradients reach x (straight through the sign), scale and bias. Training the signs themselves is
    the matter of real weights: see ``binarize_ste``.
    """
    return binary_linear_op(x, w, scale, bias, activations)
