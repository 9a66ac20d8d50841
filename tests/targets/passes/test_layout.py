"""Channels-last convolutions leave no transposes between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import tvm
from torch import Tensor, nn
from tvm import relax

from fixtures.programs import check_built, model_of
from millijoule.targets.passes.layout import channels_last


class TimeMajor(nn.Module):
    """Convolutions between [B, N, C] tensors, the way the converters write them."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(6, 6, 3, padding=1, bias=False) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = torch.relu(conv(x.transpose(1, 2)).transpose(1, 2))
        return x


class ChannelsFirst(nn.Sequential):
    """Convolutions on [B, C, N], the way most people write them."""

    def __init__(self) -> None:
        super().__init__(nn.Conv1d(6, 5, 3, padding=1, bias=False), nn.Conv1d(5, 4, 3, bias=False))


def operators(module: Any) -> list[str]:
    names = []

    def visit(expr: Any) -> None:
        if isinstance(expr, relax.Call) and isinstance(expr.op, tvm.ir.Op):
            names.append(str(expr.op.name))

    relax.analysis.post_order_visit(module["main"], visit)
    return names


def after_pass(module: nn.Module, x: Tensor) -> list[str]:
    clean = [relax.transform.CanonicalizeBindings(), relax.transform.DeadCodeElimination()]
    passes = tvm.transform.Sequential([*clean, channels_last, *clean])
    return operators(passes(model_of(module, x).module))


@pytest.mark.parametrize("layers", [1, 3])
def test_time_major_models_lose_all_transposes(layers: int) -> None:
    left = after_pass(TimeMajor(layers), torch.randn(2, 9, 6))
    assert left.count("relax.nn.conv1d") == layers
    assert left.count("relax.permute_dims") == 0


def test_channels_first_models_keep_one_at_either_end() -> None:
    left = after_pass(ChannelsFirst(), torch.randn(2, 6, 9))
    assert left.count("relax.nn.conv1d") == 2
    assert left.count("relax.permute_dims") == 2


@pytest.mark.parametrize(
    "module",
    [
        TimeMajor(2),
        nn.Sequential(nn.Conv1d(6, 4, 3, stride=2, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv1d(6, 4, 3, dilation=2)),
        nn.Sequential(nn.Conv1d(6, 4, 3, groups=2)),
        nn.Sequential(nn.Conv1d(6, 4, 5, padding=2), nn.Conv1d(4, 3, 1)),
    ],
    ids=["time-major", "stride", "dilation", "groups", "chain"],
)
def test_convolutions_of_any_kind_compute_the_same(module: nn.Module, tmp_path: Path) -> None:
    shape = (2, 9, 6) if isinstance(module, TimeMajor) else (2, 6, 9)
    check_built(module, [torch.randn(shape)], tmp_path / "conv.mjb")
