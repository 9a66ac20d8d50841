"""Many small torch functions in one program: each output is compared with torch's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import millijoule as mj
from millijoule.converters.frontends.module import convert_module
from millijoule.targets import build

Function = Callable[..., Tensor]


class Functions(nn.Module):
    """The result of every function by its name."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        super().__init__()
        self._functions = functions

    def forward(self, x: Tensor, y: Tensor, i: Tensor, j: Tensor) -> dict[str, Tensor]:
        return {name: _plain(f(x, y, i, j)) for name, f in self._functions.items()}


def _plain(result: Tensor) -> Tensor:
    """Truth values as integers, scalars as vectors: what a bundle can return."""
    result = result.int() if result.dtype is torch.bool else result
    return result.reshape(1) if result.dim() == 0 else result


def check(functions: Mapping[str, Function], folder: Path) -> None:
    """Build all ``functions`` of (x, y: float [3, 4, 5]; i, j: int64 in −3…2) and compare.

    Tolerance: elementary functions differ from torch's in the last bits, and so do weights of
    interpolation, which are products of places here and differences of them there.
    """
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(3, 4, 5, generator=generator) for _ in range(2))
    i, j = (torch.randint(-3, 3, (3, 4, 5), generator=generator) for _ in range(2))
    model = convert_module(Functions(functions), (x, y, i, j))
    build(model, "host", folder / "m.mjb").close()
    with mj.load(folder / "m.mjb") as session:
        got = session.run(dict(model.sample_inputs))
    wrong = {}
    for name, want in model.sample_outputs.items():
        assert got[name].dtype == want.dtype, name
        if not np.allclose(got[name], want, rtol=1e-5, atol=3e-6):
            wrong[name] = float(np.abs(got[name] - want).max())
    assert not wrong, wrong
