"""Layers of LMUFormer. Sequences are [B, N, C] (time before channels) throughout.

Parameter names and shapes are those of the authors' state_dict; the layout that kernels want is
made from them in ``forward`` and folded to a constant when a model is converted.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from millijoule.converters.ops import lif, pack_params, spike_conv, spike_linear
from millijoule.converters.stream import Stream, Temporal

BN_EPS = 1e-5
TAU = 2.0  # of every LIF neuron of the paper


class BatchNorm(nn.BatchNorm1d):
    """Batch norm over the channels of [B, N, C]."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=BN_EPS)

    def folded(self) -> tuple[Tensor, Tensor]:
        """(scale, shift) of the inference form ``scale·x + shift``."""
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, C] → [B, N, C]."""
        if self.training:
            return super().forward(x.flatten(0, 1)).view_as(x)
        scale, shift = self.folded()
        return x * scale + shift


class Lif(Temporal):
    """A layer of LIF neurons (τ = 2, hard reset to 0) behind an optional batch norm."""

    emits_spikes = True

    def __init__(self, threshold: float = 1.0, gain: float = 1.0) -> None:
        super().__init__()
        self.threshold, self.gain = threshold, gain

    def forward(
        self, x: Tensor, bn: BatchNorm | None = None, stream: Stream | None = None
    ) -> Tensor:
        """[B, N, C] currents → [B, N, C] spikes: uint8, or float32 while training."""
        batch, _, channels = x.shape
        scale: Tensor | float = self.gain
        shift: Tensor | float = 0.0
        if bn is not None and self.training:
            x = bn(x)
        elif bn is not None:
            scale, shift = bn.folded()
        params = pack_params(
            channels,
            scale=scale,
            shift=shift,
            decay=1 / TAU,
            threshold=self.threshold,
            dtype=x.dtype,
        )
        dtype = torch.float32 if self.training else torch.uint8
        if stream is None:
            return lif(x, params, x.new_zeros(batch, 1, channels), dtype=dtype)[0]
        state = stream.read(f"{self.path}.v", (batch, 1, channels), torch.float32)
        spikes, state = lif(x, params, state, valid=stream.valid, dtype=dtype)
        stream.write(f"{self.path}.v", state)
        return spikes


class TimeConv(Temporal):
    """Convolution of width 3 along time, zero padding 1, no bias; delays a stream by one step."""

    def __init__(self, inputs: int, outputs: int, *, spiking: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.spiking = spiking

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """[B, N, inputs] → [B, N, outputs] float32."""
        padding = 1
        if stream is not None:
            if not self.spiking:  # spikes of a step that does not happen are zero already
                x = x * stream.valid.to(x.dtype)
            x, padding = stream.window(f"{self.path}.window", x, 3), 0
            stream.later()
        if self.spiking:
            return spike_conv(x, self.weight.permute(2, 1, 0), padding=padding)
        return F.conv1d(x.transpose(1, 2), self.weight, padding=padding).transpose(1, 2)


class PointConv(nn.Module):
    """1×1 convolution; ``spikes`` is "binary", "counts" or None (real input)."""

    def __init__(self, inputs: int, outputs: int, *, spikes: str | None, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.spikes = spikes

    def forward(self, x: Tensor, bn: BatchNorm | None = None) -> Tensor:
        """[B, N, inputs] → [B, N, outputs], with ``bn`` behind it if given."""
        weight = self.weight[:, :, 0]
        bias = weight.new_zeros(weight.shape[0]) if self.bias is None else self.bias
        if bn is None or self.training:
            y = affine(x, weight, bias, self.spikes)
            return y if bn is None else bn(y)
        scale, shift = bn.folded()
        return affine(x, weight * scale[:, None], bias * scale + shift, self.spikes)


class SpikeLinear(nn.Linear):
    """A linear layer whose input is spikes ("binary" or "counts") or real (None)."""

    def __init__(self, inputs: int, outputs: int, spikes: str | None) -> None:
        super().__init__(inputs, outputs)
        self.spikes = spikes

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, inputs] → [B, N, outputs]."""
        return affine(x, self.weight, self.bias, self.spikes)


def affine(x: Tensor, weight: Tensor, bias: Tensor, spikes: str | None) -> Tensor:
    """``x Wᵀ + b``, spike-driven if ``spikes`` says so."""
    if spikes is None:
        return F.linear(x, weight, bias)
    return spike_linear(x, weight.transpose(0, 1), bias, binary=spikes == "binary")
