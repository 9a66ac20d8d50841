"""Batch norms vanish into convolutions where that is exact, and are computed where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import tvm
from torch import Tensor, nn
from tvm import relax

from fixtures.programs import check_built, model_of
from millijoule.targets.passes.fold_norm import fold_norm


def trained(module: nn.Module) -> nn.Module:
    """``module`` with batch norms that have seen something."""
    torch.manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            if norm.affine:
                nn.init.uniform_(norm.weight, 0.5, 1.5)
                nn.init.normal_(norm.bias)
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return module.eval()


class Shared(nn.Module):
    """A convolution that is read beside its norm, and a norm that two 1×1 convolutions read."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.a, self.b = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        z = self.norm(y)
        return self.a(z) * self.b(z) + y[:, :4]


def names(module: nn.Module) -> list[str]:
    clean = [relax.transform.CanonicalizeBindings(), relax.transform.DeadCodeElimination()]
    passes = tvm.transform.Sequential([*clean, fold_norm(), *clean])
    main = passes(model_of(module, torch.randn(2, 3, 9, 9)).module)["main"]
    found: list[str] = []

    def visit(expr: Any) -> None:
        if isinstance(expr, relax.Call) and isinstance(expr.op, tvm.ir.Op):
            found.append(str(expr.op.name).removeprefix("relax.").removeprefix("nn."))

    relax.analysis.post_order_visit(main, visit)
    return [n for n in found if n not in ("reshape", "strided_slice")]


# module, operators that are left
CASES = {
    "behind": (nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)), "conv2d add"),
    "behind a bias": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)), "conv2d add"),
    "behind groups": (
        nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, padding=1), nn.BatchNorm2d(6)),
        "conv2d add",
    ),
    "in front": (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 1)), "conv2d add add"),
    "in front of a border": (
        nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3, padding=1, bias=False)),
        "multiply add conv2d",
    ),
    "between": (
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)),
        "conv2d add conv2d add",
    ),
    "behind something else": (
        nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), nn.BatchNorm2d(8, affine=False)),
        "conv2d relu multiply add",
    ),
    "shared": (Shared(), "conv2d add conv2d add add conv2d add add multiply add"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_left(name: str, tmp_path: Path) -> None:
    module, left = CASES[name]
    assert names(trained(module)) == left.split()
    check_built(module, [torch.randn(2, 3, 9, 9)], tmp_path / "norm.mjb")
