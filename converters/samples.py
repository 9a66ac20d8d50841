"""Sample inputs whose expected outputs are safe to compare exactly.

A spike is a comparison: a potential within rounding of its threshold may fall either way on another
machine, and that is nobody's error. A sample is *robust* if no spike changes when every threshold
moves by `MARGIN`; expected outputs come from robust samples where one can be found.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from millijoule.errors import ModelError

MARGIN = 1e-6
ATTEMPTS = 24


def spikes_of(
    module: nn.Module, run: Callable[[nn.Module], Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Output of ``run(module)`` and the spikes of every layer that emits them, by path."""
    spikes: dict[str, Tensor] = {}
    handles = []
    for path, layer in module.named_modules():
        if getattr(layer, "emits_spikes", False):

            def hook(_: nn.Module, __: object, y: Tensor, path: str = path) -> None:
                spikes[path] = y

            handles.append(layer.register_forward_hook(hook))
    try:
        with torch.no_grad():
            result = run(module)
    finally:
        for handle in handles:
            handle.remove()
    return result, spikes


def _is_robust(module: nn.Module, x: Tensor) -> bool:
    """Whether all spikes stay when thresholds move by ±MARGIN, in float64."""
    seen = []
    for margin in (-MARGIN, MARGIN):
        moved = copy.deepcopy(module).double()
        for layer in moved.modules():
            if getattr(layer, "emits_spikes", False):
                layer.threshold = layer.threshold + margin
        seen.append(spikes_of(moved, lambda m: m(x.double()))[1])
    return all(torch.equal(seen[0][path], seen[1][path]) for path in seen[0])


def robust_sample(module: nn.Module, candidates: Iterable[Tensor]) -> Tensor:
    """The first robust candidate, else the first of all. ModelError if an output is not finite."""
    first: Tensor | None = None
    for x in candidates:
        first = x if first is None else first
        if not any(getattr(layer, "emits_spikes", False) for layer in module.modules()):
            break
        if _is_robust(module, x):
            return x
    if first is None:
        raise ModelError("[samples] a model needs at least one sample input")
    return first


def random_candidates(shape: tuple[int, ...]) -> Iterable[Tensor]:
    """Standard normal tensors from fixed seeds."""
    for seed in range(ATTEMPTS):
        yield torch.randn(shape, generator=torch.Generator().manual_seed(seed))
