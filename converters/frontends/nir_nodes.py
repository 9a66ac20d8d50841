"""NIR primitives as layers: Pedersen et al. 2024 (arXiv 2311.14641), Euler steps of length dt.

Neurons are computed relative to their leak voltage, where they also start::

    LIF, LI          v ← (1 − dt/τ)·v + (r·dt/τ)·x
    CubaLIF, CubaLI  i ← (1 − dt/τ_syn)·i + (w_in·dt/τ_syn)·x
                     v ← (1 − dt/τ_mem)·v + (r·dt/τ_mem)·i
    IF               v ← v + r·x      (no dt: one step is one unit of time, as exporters mean it)

A neuron fires if v > v_threshold and is then set to v_reset at once. This is what snnTorch's and
norse's importers compute from the same graph; with their exporters' dt of 1e-4 the input's factor
is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from millijoule.converters.frontends.neurons import NeuronSpec, SpikingLinear
from millijoule.converters.ops import LifRule
from millijoule.errors import ModelError

NEVER = float("inf")


class Scale(nn.Module):
    """``x · scale``, elementwise over the features."""

    scale: Tensor

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """[R, F…] → [R, F…]."""
        return x * self.scale


class Conv(nn.Module):
    """A convolution over the features of a step."""

    weight: Tensor
    bias: Tensor

    def __init__(self, node: Any, rank: int) -> None:
        super().__init__()
        self._convolve = F.conv1d if rank == 1 else F.conv2d
        self._options: dict[str, Any] = {
            "stride": _sizes(node.stride),
            "padding": node.padding if isinstance(node.padding, str) else _sizes(node.padding),
            "dilation": _sizes(node.dilation),
            "groups": int(node.groups),
        }
        self.weight = nn.Parameter(_tensor(node.weight), requires_grad=False)
        self.bias = nn.Parameter(_tensor(node.bias), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """[R, C, …] → [R, O, …]."""
        return self._convolve(x, self.weight, self.bias, **self._options)


class Pool(nn.Module):
    """Average pooling; ``total`` sums instead. Padding counts as zeros."""

    def __init__(self, node: Any, total: bool) -> None:
        super().__init__()
        self._kernel = _sizes(node.kernel_size)
        self._stride, self._padding = _sizes(node.stride), _sizes(node.padding)
        self._factor = (
            int(np.prod(self._kernel))
            if total and len(self._kernel) == 2
            else (self._kernel[0] ** 2 if total else 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[R, C, H, W] → [R, C, H', W']."""
        y = F.avg_pool2d(x, self._kernel, self._stride, self._padding)
        return y if self._factor == 1 else y * self._factor


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(int(v) for v in np.atleast_1d(value))


def _tensor(value: Any) -> Tensor:
    return torch.from_numpy(np.array(value, dtype=np.float32))


def _linear(node: Any) -> nn.Module:
    weight = _tensor(node.weight)
    if weight.dim() != 2:
        raise ModelError(
            f"[nir] weights of a linear node must be [O, I], but are {list(weight.shape)}"
        )
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=hasattr(node, "bias"))
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if hasattr(node, "bias"):
        layer.bias = nn.Parameter(_tensor(node.bias).reshape(-1), requires_grad=False)
    return SpikingLinear(layer)


def _flatten(node: Any) -> nn.Module:
    """NIR's axes do not count the batch."""
    start, end = (int(d) + (int(d) >= 0) for d in (node.start_dim, node.end_dim))
    return nn.Flatten(start, end)


LAYERS: dict[str, Callable[[Any], nn.Module]] = {
    "Affine": _linear,
    "AvgPool2d": lambda node: Pool(node, total=False),
    "Conv1d": lambda node: Conv(node, 1),
    "Conv2d": lambda node: Conv(node, 2),
    "Flatten": _flatten,
    "Linear": _linear,
    "Scale": lambda node: Scale(_tensor(node.scale)),
    "SumPool2d": lambda node: Pool(node, total=True),
}


def _part(name: str, tau: Any, dt: float) -> Any:
    """dt/τ, which must be in (0, 1]."""
    tau = np.asarray(tau)
    if not (tau >= dt).all():
        raise ModelError(
            f"[nir] {name} must be at least dt = {dt:g}, but is {tau.min():g}; give a smaller dt"
        )
    return dt / tau


def _membrane(node: Any, tau: Any, name: str, dt: float) -> tuple[dict[str, Any], Any]:
    """Fields that all leaky neurons share, and the factor of what flows in."""
    part = _part(name, tau, dt)
    leak = np.asarray(node.v_leak)
    fields: dict[str, Any] = {
        "decay": _tensor(1 - part),
        "rest": _tensor(leak) if leak.any() else None,
    }
    if hasattr(node, "v_threshold"):
        fields["threshold"] = _tensor(node.v_threshold - leak)
        fields["reset"] = _tensor(node.v_reset - leak)
    else:
        fields |= {"threshold": NEVER, "spiking": False}
    return fields, node.r * part


def _rule(fires: bool, synaptic: bool = False) -> LifRule:
    return LifRule("leak", "zero" if fires else "none", strict=True, synaptic=synaptic)


def _leaky(node: Any, dt: float) -> NeuronSpec:
    fields, flow = _membrane(node, node.tau, "tau", dt)
    return NeuronSpec(_rule("reset" in fields), scale=_tensor(flow), **fields)


def _cuba(node: Any, dt: float) -> NeuronSpec:
    fields, flow = _membrane(node, node.tau_mem, "tau_mem", dt)
    part = _part("tau_syn", node.tau_syn, dt)
    return NeuronSpec(
        _rule("reset" in fields, synaptic=True),
        scale=_tensor(node.w_in * part * flow),
        synapse=_tensor(1 - part),
        **fields,
    )


def _integrate(node: Any, dt: float) -> NeuronSpec:
    return NeuronSpec(
        _rule(True),
        scale=_tensor(node.r),
        decay=1.0,
        threshold=_tensor(node.v_threshold),
        reset=_tensor(node.v_reset),
    )


NEURONS: dict[str, Callable[[Any, float], NeuronSpec]] = {
    "CubaLI": _cuba,
    "CubaLIF": _cuba,
    "IF": _integrate,
    "LI": _leaky,
    "LIF": _leaky,
}
