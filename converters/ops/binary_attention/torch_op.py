"""torch form of ``binary_attention``: ``mj::binary_attention`` with a straight-through gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from millijoule.converters.ops.binary_attention.rule import check_rule, int_threshold
from millijoule.converters.ops.straight_through import sign_ste, straight_through


def _split(x: Tensor, heads: int) -> Tensor:
    """[B, N, D] → [B, heads, N, d]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _scores(
    s: Tensor, rule: str, low: Tensor | None, scales: Tensor | None, mask: Tensor | None, d: int
) -> Tensor:
    """What the map is decided by, [B, heads, N, N]."""
    if low is not None and scales is not None:
        q_m, q_p, k_m, k_p = low[:, None, :, :4].unbind(-1)
        pairs = ((q_m, k_p), (q_p, k_m), (q_p, k_p))
        s = scales[0] * s + sum(a[..., :, None] * b[..., None, :] for a, b in pairs)
    if rule != "threshold":
        s = s / math.sqrt(d)
    return s if mask is None else s + mask[:, None, None, :]


def _map(scores: Tensor, rule: str, scales: Tensor | None, d: int) -> Tensor:
    """A in the type of ``scores``, with the gradients of a stand-in.

    bool: ½(s + 1) clipped to [0, 1]; softmax: P/α_attn clipped to [0, 1]; threshold: the
    exponential exp((s − max s)/√d), which the rule compares with ¼.
    """
    if rule == "bool":
        return straight_through((scores > 0).to(scores.dtype), ((scores + 1) / 2).clamp(0, 1))
    if rule == "threshold":
        below = scores.amax(-1, keepdim=True) - scores
        return straight_through(
            (below <= int_threshold(d)).to(scores.dtype), torch.exp(-below / math.sqrt(d))
        )
    assert scales is not None
    ratio = scores.softmax(-1) / scales[1]
    return straight_through((ratio > 0.5).to(scores.dtype), ratio.clamp(0, 1))


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    low: Tensor | None,
    scales: Tensor | None,
    mask: Tensor | None,
    rule: str,
    heads: int,
) -> tuple[Tensor, Tensor]:
    """(context, A in floating point), differentiable."""
    d = q.shape[-1] // heads
    sq, sk, sv = (_split(sign_ste(t), heads) for t in (q, k, v))
    a = _map(_scores(sq @ sk.transpose(-1, -2), rule, low, scales, mask, d), rule, scales, d)
    context = a @ sv
    if low is not None and scales is not None:
        context = scales[1] * scales[2] * context + scales[1] * (a @ low[:, None, :, 4:])
    return context.transpose(1, 2).flatten(2), a


def softmax_ratio(
    q: Tensor, k: Tensor, low: Tensor, scales: Tensor, mask: Tensor | None, heads: int
) -> Tensor:
    """P/α_attn of the softmax rule, [B, heads, N, N]: what is compared with ½."""
    sq, sk = (_split(torch.sign(t), heads) for t in (q, k))
    d = q.shape[-1] // heads
    return (
        _scores(sq @ sk.transpose(-1, -2), "softmax", low, scales, mask, d).softmax(-1) / scales[1]
    )


@torch.library.custom_op("mj::binary_attention", mutates_args=())
def binary_attention_op(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    low: Tensor | None,
    scales: Tensor | None,
    mask: Tensor | None,
    rule: str,
    heads: int,
    maps: bool,
) -> tuple[Tensor, Tensor]:
    """Eager reference; see the package docstring."""
    context, a = _attend(q, k, v, low, scales, mask, rule, heads)
    return context.contiguous(), a.to(torch.uint8)


@binary_attention_op.register_fake
def _(q, k, v, low, scales, mask, rule, heads, maps):  # type: ignore[no-untyped-def]
    batch, steps, _ = q.shape
    return q.new_empty(q.shape), q.new_empty((batch, heads, steps, steps), dtype=torch.uint8)


def _setup(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs[:6])
    ctx.rule, ctx.heads = inputs[6:8]
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, grad, _):  # type: ignore[no-untyped-def]
    """Gradients of the differentiable form, computed anew; masks have none."""
    with torch.enable_grad():
        saved = [None if t is None else t.detach().requires_grad_() for t in ctx.saved_tensors]
        q, k, v, low, scales, mask = saved
        context, _ = _attend(q, k, v, low, scales, mask, ctx.rule, ctx.heads)
        wanted = [t for t in saved[:5] if t is not None]
        grads = iter(torch.autograd.grad(context, wanted, grad))
    return (*(None if t is None else next(grads) for t in saved[:5]), *([None] * 4))


binary_attention_op.register_autograd(_backward, setup_context=_setup)


def binary_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    rule: str,
    heads: int,
    low: Tensor | None = None,
    scales: Tensor | None = None,
    mask: Tensor | None = None,
    maps: bool = True,
) -> tuple[Tensor, Tensor]:
    """(context [B, N, D], A uint8 [B, heads, N, N]) of q, k, v [B, N, D]; see the package.

    ValueError for an unknown rule, or operands that do not belong to it.
    """
    check_rule(rule, masked=mask is not None, low=low is not None and scales is not None)
    return binary_attention_op(q, k, v, low, scales, mask, rule, heads, maps)
