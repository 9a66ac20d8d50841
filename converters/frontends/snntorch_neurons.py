"""snnTorch's neurons: which are supported, and their rules and parameters."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from millijoule.converters.frontends.neurons import NeuronSpec
from millijoule.converters.frontends.nodes import refuse
from millijoule.converters.ops import LifRule

SUPPORTED = ("Leaky", "Synaptic")
STATES = {"Leaky": 1, "Synaptic": 2}


def is_neuron(module: nn.Module) -> bool:
    """Whether ``module`` is one of snnTorch's neurons (also one that is not supported)."""
    return any(
        c.__module__.startswith("snntorch.") and c.__name__ != "Module"
        for c in type(module).__mro__
    )


def has_neurons(module: nn.Module) -> bool:
    """Whether snnTorch neurons are in ``module``."""
    return any(is_neuron(m) for m in module.modules())


def neuron_spec(path: str, neuron: Any) -> NeuronSpec:
    """Rule and parameters of a neuron; UnsupportedError naming what cannot be converted."""
    kind = kind_of(path, neuron)
    if neuron.inhibition:
        raise refuse(f"neurons {path!r} use inhibition", "build them with inhibition=False")
    if neuron.state_quant:
        raise refuse(f"neurons {path!r} use state_quant", "build them with state_quant=False")
    _check_fires(path, neuron)
    threshold, factor = neuron.threshold.detach(), neuron.graded_spikes_factor.detach()
    if bool((factor == 0).any()):
        raise refuse(f"neurons {path!r} have a graded_spikes_factor of 0", "choose another factor")
    delayed, reset, record = bool(neuron.reset_delay), str(neuron.reset_mechanism), "after"
    if reset == "none":
        delayed = False
    elif reset == "zero" and not delayed and bool((threshold < 0).any()):
        raise refuse(
            f"neurons {path!r} reset to zero at once above a negative threshold",
            "use reset_delay=True or thresholds of at least 0",
        )
    elif reset == "zero" and delayed and kind == "Leaky":
        # it zeroes the old potential before the charge: an immediate reset that nobody has seen yet
        delayed, record = False, "before"
    elif reset == "subtract" and not delayed:
        reset = "settle"
    return NeuronSpec(
        rule=LifRule("leak", reset, delayed, strict=True, synaptic=kind == "Synaptic"),
        decay=neuron.beta.detach().clamp(0, 1),
        threshold=threshold,
        synapse=neuron.alpha.detach().clamp(0, 1) if kind == "Synaptic" else 0.0,
        gain=None if bool((factor == 1).all()) else factor.clone(),
        record=record,
    )


def kind_of(path: str, neuron: nn.Module) -> str:
    for base in type(neuron).__mro__:
        if base.__module__.startswith("snntorch.") and base.__name__ in SUPPORTED:
            if type(neuron).forward is not base.forward:  # type: ignore[attr-defined]
                raise refuse(
                    f"neurons {path!r} ({type(neuron).__name__}) have a forward of their own",
                    f"use snnTorch's {base.__name__} itself",
                )
            return base.__name__
    raise refuse(
        f"neurons {path!r} are of type {type(neuron).__name__}",
        f"supported are {', '.join(SUPPORTED)}",
    )


def _check_fires(path: str, neuron: Any) -> None:
    """The surrogate must be a step function forwards, which a few (stochastic, leaky) are not."""
    probe = torch.tensor([-2.0, -1e-3, 0.0, 1e-3, 2.0])
    with torch.no_grad():
        fired = neuron.spike_grad(probe)
    if fired.tolist() != [0, 0, 0, 1, 1]:
        raise refuse(
            f"neurons {path!r} do not spike as 0 or 1 at their threshold",
            "use a deterministic surrogate such as snntorch.surrogate.atan()",
        )


def fresh_copy(module: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A copy in evaluation mode, in ``dtype``, with the states of its neurons forgotten."""
    memo: dict[int, Any] = {}
    for m in module.modules():
        for value in [*vars(m).values(), *m._buffers.values()]:
            if isinstance(value, Tensor) and value.grad_fn is not None:
                memo[id(value)] = value.detach().clone()  # deepcopy takes leaves only
    copied = copy.deepcopy(module, memo).eval().to(dtype)

    def cast(_: nn.Module, __: Any, results: Any) -> Any:
        return pytree.tree_map_only(Tensor, lambda t: t.to(dtype), results)

    for m in copied.modules():
        if is_neuron(m):
            for state in ("mem", "syn"):
                if isinstance(getattr(m, state, None), Tensor):
                    setattr(m, state, torch.zeros(0, dtype=dtype))
            if dtype is not torch.float32:
                m.register_forward_hook(cast)  # snnTorch's spikes are always float32
    return copied
