"""torch form of ``spike_conv``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def _dense(s: Tensor, w: Tensor, padding: int) -> Tensor:
    """The same convolution through torch's channels-first conv1d."""
    return F.conv1d(s.to(w.dtype).transpose(1, 2), w.permute(2, 1, 0), padding=padding)


@torch.library.custom_op("mj::spike_conv", mutates_args=())
def spike_conv_op(s: Tensor, w: Tensor, padding: int, binary: bool) -> Tensor:
    """Eager reference: a dense convolution."""
    return _dense(s, w, padding).transpose(1, 2).contiguous()


@spike_conv_op.register_fake
def _(s, w, padding, binary):  # type: ignore[no-untyped-def]
    steps = s.shape[1] + 2 * padding - w.shape[0] + 1
    return w.new_empty((s.shape[0], steps, w.shape[2]))


def _setup(ctx, inputs, output):  # type: ignore[no-untyped-def]
    s, w, padding, _ = inputs
    ctx.save_for_backward(s, w)
    ctx.padding = padding


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    s, w = ctx.saved_tensors
    channels_first = grad.transpose(1, 2).contiguous()
    kernel = w.permute(2, 1, 0).contiguous()
    spikes = s.to(w.dtype).transpose(1, 2).contiguous()
    grad_s, grad_w, _ = torch.ops.aten.convolution_backward(
        channels_first,
        spikes,
        kernel,
        None,
        [1],
        [ctx.padding],
        [1],
        False,
        [0],
        1,
        [s.is_floating_point(), True, False],
    )
    return None if grad_s is None else grad_s.transpose(1, 2), grad_w.permute(2, 1, 0), None, None


spike_conv_op.register_autograd(_backward, setup_context=_setup)


def spike_conv(s: Tensor, w: Tensor, *, padding: int, binary: bool = True) -> Tensor:
    """s [B, N, C] spikes (float32 while training), w [K, C, O] → [B, N + 2·padding − K + 1, O]."""
    return spike_conv_op(s, w, padding, binary)
