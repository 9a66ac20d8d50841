"""Dense multiply-accumulates of a torch module by layer, counted the way papers count them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def count_macs(module: nn.Module, run: Callable[[], Any]) -> dict[str, int]:
    """Run ``run()`` and add up, per layer with a weight matrix or filter, outputs × fan-in.

    A layer counts if it is a module whose ``weight`` has two or more dimensions; biases, norms,
    activations and tables that are only looked up do not count.
    """
    found: dict[str, int] = {}
    handles = []
    for path, layer in module.named_modules():
        weight = getattr(layer, "weight", None)
        lookup = isinstance(layer, nn.Embedding) or getattr(layer, "is_lookup", False)
        if isinstance(weight, Tensor) and weight.dim() >= 2 and not lookup:

            def hook(
                _: nn.Module, __: Any, y: Tensor, path: str = path, fan_in: int = weight[0].numel()
            ) -> None:
                found[path] = found.get(path, 0) + y.numel() * fan_in

            handles.append(layer.register_forward_hook(hook))
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return found
