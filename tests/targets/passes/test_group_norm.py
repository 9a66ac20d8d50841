"""What becomes one kernel of a group or instance norm, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from fixtures.programs import check_built, plan_of


def network(*layers: nn.Module) -> nn.Module:
    """Layers with weights that are not all ones and zeros."""
    torch.manual_seed(0)
    module = nn.Sequential(*layers)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module.eval()


@pytest.mark.parametrize(
    ("module", "size"),
    [
        (network(nn.GroupNorm(2, 6), nn.SiLU()), (2, 6, 5, 8)),
        (network(nn.GroupNorm(3, 6, affine=False)), (1, 6, 40)),
    ],
)
def test_one_kernel(module: nn.Module, size: tuple[int, ...], tmp_path: Path) -> None:
    x = torch.randn(size)
    (call,) = plan_of(module, x).calls
    assert call.meta.op == "group_norm"
    assert call.meta.scheduled
    check_built(module, [x], tmp_path / "net.mjb")


@pytest.mark.parametrize(
    ("module", "size"),
    [
        (network(nn.GroupNorm(2, 6)), (3, 6)),  # no values inside of a channel
        (network(nn.GroupNorm(2, 6)), (1, 6, 1, 3)),  # fewer than a vector
        (network(nn.InstanceNorm2d(4, affine=True)), (2, 4, 5, 8)),
    ],
)
def test_others_compute_the_same(module: nn.Module, size: tuple[int, ...], tmp_path: Path) -> None:
    check_built(module, [torch.randn(size)], tmp_path / "net.mjb")
