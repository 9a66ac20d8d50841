"""Products in bfloat16, for training: several times as fast where the processor has it.

Spikes are exact in bfloat16; weights, currents and gradients are rounded to 8 bits of mantissa. The
parameters themselves stay float32, and inference (``model.eval()``) computes as it always does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from millijoule.converters.lmuformer.layers import BatchNorm, PointConv, SpikeLinear, TimeConv
from millijoule.converters.lmuformer.memory import SpikingCell

_LOW = torch.bfloat16


class FastMemory:
    """The Legendre memory as one product: u float32 ``[B, N]`` to m float32 ``[B, N, M]``.

    Same sums as ``mj::lmu_memory``, whose transforms take longer at 98 frames.
    """

    def __init__(self, impulse: Tensor) -> None:
        steps, order = impulse.shape
        lag = torch.arange(steps)[None, :] - torch.arange(steps)[:, None]  # output minus input
        response = impulse[lag.clamp(min=0)] * (lag >= 0)[:, :, None]
        self.shape = steps, order
        self.matrix = response.reshape(steps, steps * order)
        self.low_matrix = self.matrix.to(_LOW)

    def __call__(self, u: Tensor, stream: None = None) -> Tensor:
        """Whole sequences only; in bfloat16 while gradients are wanted."""
        low = u.requires_grad
        m = (u.to(_LOW) @ self.low_matrix).float() if low else u @ self.matrix
        return m.view(-1, *self.shape)


def _time_conv(layer: TimeConv, x: Tensor) -> Tensor:
    padded = F.pad(x.to(_LOW), (0, 0, 1, 1))
    columns = torch.cat([padded[:, k : k + x.shape[1]] for k in range(3)], dim=-1)
    return (columns @ layer.weight.permute(2, 1, 0).flatten(0, 1).to(_LOW)).float()


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y = F.linear(x.to(_LOW), weight.to(_LOW)).float()
    return y if bias is None else y + bias


def _point_conv(layer: PointConv, x: Tensor, bn: BatchNorm | None = None) -> Tensor:
    y = _linear(x, layer.weight[:, :, 0], layer.bias)
    return y if bn is None else bn(y)


def _spike_linear(layer: SpikeLinear, x: Tensor) -> Tensor:
    return _linear(x, layer.weight, layer.bias)


_FAST: dict[type[nn.Module], Callable[..., Tensor]] = {
    TimeConv: _time_conv,
    PointConv: _point_conv,
    SpikeLinear: _spike_linear,
}


def _forward(layer: nn.Module, *arguments: Any) -> Tensor:
    kind = type(layer)
    if layer.training:
        return _FAST[kind](layer, *(a for a in arguments if a is not None))
    result: Tensor = kind.forward(layer, *arguments)
    return result


def use_fast_layers(model: nn.Module) -> nn.Module:
    """Replace the products and memories of a model in place; its state_dict stays as it was."""
    for module in model.modules():
        if type(module) in _FAST:
            object.__setattr__(module, "forward", partial(_forward, module))
        if isinstance(module, SpikingCell):
            object.__setattr__(module, "remember", FastMemory(module.H.T))
    return model
