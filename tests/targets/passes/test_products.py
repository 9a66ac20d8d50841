"""Products of computed matrices become kernels that read through strides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fixtures.programs import check_built, plan_of
from millijoule.targets.kernels import form


class Net(nn.Module):
    """A function of two inputs."""

    def __init__(self, wiring: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self._wiring = wiring

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self._wiring(a, b)


CASES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], tuple[int, ...], tuple[int, ...]]] = {
    "plain": (torch.matmul, (2, 3, 7, 15), (2, 3, 15, 70)),
    "transposed": (lambda a, b: a @ b.transpose(-1, -2), (3, 17, 40), (3, 65, 40)),
    "both transposed": (lambda a, b: a.mT @ b.mT, (3, 17, 9), (3, 65, 17)),
    "broadcast": (torch.matmul, (4, 1, 5, 16), (3, 16, 33)),
    "heads": (
        lambda a, b: (
            a.view(2, 9, 3, 8).transpose(1, 2) @ b.view(2, 9, 3, 8).permute(0, 2, 3, 1)
        ).transpose(1, 2),
        (2, 9, 24),
        (2, 9, 24),
    ),
    "one row": (torch.matmul, (1, 20), (20, 130)),
}


@pytest.mark.parametrize("name", CASES)
def test_products(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in ("plain", "transposed"):
        monkeypatch.setattr(form, "PARALLEL_OPERATIONS", 1)
    wiring, *shapes = CASES[name]
    rng = np.random.default_rng(0)
    inputs = [torch.from_numpy(rng.standard_normal(s).astype(np.float32)) for s in shapes]
    calls = plan_of(Net(wiring), *inputs).calls
    assert [c.meta.op for c in calls] == ["matmul"], "nothing is copied around it"
    check_built(Net(wiring), inputs, tmp_path / "net.mjb")
