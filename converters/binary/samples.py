"""Sample inputs on which no sign hangs on a rounding error.

Every sign of a real number, and every comparison of BiPFT's softmax, is a decision that another
machine may take differently when the number is within rounding of the boundary. The *margin* of a
sample is its smallest distance to any such boundary; exact zeros and integer scores are nobody's
rounding. Expected outputs come from a sample with a margin of `ENOUGH` where one is found among the
candidates, else from the one with the largest margin.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from millijoule.converters.ops.binary_attention.torch_op import softmax_ratio

ENOUGH = 2e-6
Sample = dict[str, Tensor]
K = TypeVar("K")


class Margins(TorchDispatchMode):
    """Smallest distance to a decision boundary of all vocabulary calls; ``rows`` [B, N] that count.

    ``rows`` None: all.
    """

    def __init__(self, rows: Tensor | None = None) -> None:
        super().__init__()
        self.smallest = math.inf
        self._rows = rows

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.mj.binary_linear.default and args[4] == "sign":
            self._note(args[0])
        elif func is torch.ops.mj.binary_attention.default:
            q, k, v, low, scales, mask, rule, heads, _ = args
            for values in (q, k, v):
                self._note(values)
            if rule == "softmax":
                with torch.no_grad():
                    ratio = softmax_ratio(q, k, low, scales, mask, heads)
                self._note((ratio - 0.5).transpose(1, 2))
        return func(*args, **(kwargs or {}))

    def _note(self, values: Tensor) -> None:
        if self._rows is not None and values.dim() > 2:
            values = values[self._rows]
        distances = values[values != 0].abs()
        if distances.numel():
            self.smallest = min(self.smallest, float(distances.min()))


class Maps(TorchDispatchMode):
    """Collects the attention maps of all calls, in order, in ``seen``."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.mj.binary_attention.default:
            self.seen.append(result[1])
        return result


def margin(module: nn.Module, sample: Mapping[str, Tensor], rows: Tensor | None = None) -> float:
    """Smallest distance of ``module(**sample)`` to any decision; ``rows`` [B, N] that count."""
    with torch.no_grad(), Margins(rows) as margins:
        module(**sample)
    return margins.smallest


def safest(candidates: Iterable[K], margin_of: Callable[[K], float]) -> tuple[K, float]:
    """The first candidate with a margin of `ENOUGH`, else the best; with its margin."""
    best: tuple[K, float] | None = None
    for candidate in candidates:
        found = margin_of(candidate)
        if best is None or found > best[1]:
            best = candidate, found
        if found >= ENOUGH:
            break
    assert best is not None
    return best
