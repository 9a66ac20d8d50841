"""Layers of a rebuilt spiking network: neurons as one ``lif`` per layer, spike-driven linear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from millijoule.converters.ops import LifRule, lif, lif_record, pack_params, spike_linear
from millijoule.converters.stream import Stream, Temporal

_ROWS = ("scale", "shift", "decay", "threshold", "reset", "synapse")


@dataclass(frozen=True)
class Spikes:
    """0/1 uint8 values of a layer of neurons, worth ``gain`` each (None: 1, else per neuron)."""

    values: Tensor
    gain: Tensor | None = None

    def dense(self, dtype: torch.dtype) -> Tensor:
        """As an ordinary tensor."""
        values = self.values.to(dtype)
        return values if self.gain is None else values * self.gain.to(dtype)

    def moved(self, move: Callable[[Tensor], Tensor]) -> Spikes:
        """Both values and gains through ``move``, which leaves the first axis alone."""
        if self.gain is None or self.gain.numel() == 1:
            return Spikes(move(self.values), self.gain)
        gain = move(self.gain.expand(self.values.shape[1:]).unsqueeze(0))
        return Spikes(move(self.values), gain.squeeze(0))


@dataclass(frozen=True)
class NeuronSpec:
    """What one layer of neurons computes; tensors broadcast over the features of a step.

    ``spiking``: False for integrators that are only read out. ``gain``: what one spike is worth.
    ``rest``: what is added to potentials that are read (None: nothing), for neurons that are
    computed relative to their resting potential. ``record``: which potential the framework calls
    the membrane (see ``lif_record``).
    """

    rule: LifRule
    scale: Tensor | float = 1.0
    shift: Tensor | float = 0.0
    decay: Tensor | float = 0.5
    threshold: Tensor | float = 1.0
    reset: Tensor | float = 0.0
    synapse: Tensor | float = 0.0
    gain: Tensor | None = None
    rest: Tensor | None = None
    record: str = "after"
    spiking: bool = True


class Neurons(Temporal):
    """A layer of neurons over features of any shape.

    ``potentials``: whether `forward` also records the potentials of every step.
    """

    def __init__(self, spec: NeuronSpec, features: tuple[int, ...], potentials: bool) -> None:
        super().__init__()
        self.spec, self.features, self.potentials = spec, features, potentials
        self.emits_spikes = spec.spiking
        for row in _ROWS:
            value = torch.as_tensor(getattr(spec, row), dtype=torch.float32).detach()
            while value.dim() > len(features) and value.shape[0] == 1:  # a batch axis
                value = value[0]
            self.register_buffer(row, value.expand(features).reshape(-1).clone())

    @property
    def width(self) -> int:
        """Number of neurons."""
        return self.threshold.numel()

    def forward(
        self, x: Tensor, stream: Stream | None = None, membrane: list[Tensor] | None = None
    ) -> Tensor:
        """Currents [B, N, C] → uint8 spikes [B, N, C]; potentials are appended to ``membrane``."""
        rows = {row: getattr(self, row) for row in _ROWS}
        params = pack_params(self.width, dtype=x.dtype, **rows)
        shape = (x.shape[0], self.spec.rule.states, self.width)
        valid = None if stream is None else stream.valid
        if stream is None:
            state = x.new_zeros(shape)
        else:
            state = stream.read(f"{self.path}.state", shape, torch.float32)
        if self.potentials:
            spikes, state, trace = lif_record(
                x, params, state, self.spec.rule, valid=valid, record=self.spec.record
            )
            if membrane is not None:
                rest = self.spec.rest
                at = None if rest is None else rest.to(x.dtype).expand(self.features).reshape(-1)
                membrane.append(trace if at is None else trace + at)
        else:
            spikes, state = lif(x, params, state, self.spec.rule, valid=valid)
        if stream is not None:
            stream.write(f"{self.path}.state", state)
        return spikes


class SpikingLinear(nn.Module):
    """A linear layer that adds columns when its input is spikes, and multiplies otherwise."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor | Spikes) -> Tensor:
        """[R, …, inputs] → [R, …, outputs]."""
        if not isinstance(x, Spikes):
            return F.linear(x, self.weight, self.bias)
        weight = self.weight if x.gain is None else self.weight * x.gain
        bias = weight.new_zeros(weight.shape[0]) if self.bias is None else self.bias
        columns = weight.transpose(0, 1)
        if x.values.dim() == 3:
            return spike_linear(x.values, columns, bias, binary=True)
        y = spike_linear(x.values.reshape(1, -1, x.values.shape[-1]), columns, bias, binary=True)
        return y.reshape(*x.values.shape[:-1], y.shape[-1])


class FoldedNorm(nn.Module):
    """A batch norm in evaluation mode: one multiplication and one addition per channel."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        with torch.no_grad():
            scale = torch.rsqrt(norm.running_var + norm.eps)
            scale = scale if norm.weight is None else scale * norm.weight
            shift = -norm.running_mean * scale
            shift = shift if norm.bias is None else shift + norm.bias
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        """[R, C, …] → [R, C, …]."""
        shape = (-1, *[1] * (x.dim() - 2))
        return x * self.scale.reshape(shape) + self.shift.reshape(shape)


def rebuilt_layer(layer: nn.Module) -> nn.Module:
    """The form of an ordinary layer that a rebuilt network runs."""
    if type(layer) is nn.Linear:
        return SpikingLinear(layer)
    if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None:
        return FoldedNorm(layer)
    return layer
