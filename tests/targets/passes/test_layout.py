"""Channels-last convolutions leave no transposes between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tvm
from torch import Tensor, nn
from tvm import relax

from fixtures.programs import check_built, model_of, plan_of
from millijoule.targets.passes.layout import channels_last
from millijoule.targets.passes.layout_rules import reshaped


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
    passes = tvm.transform.Sequential([*clean, channels_last(), *clean])
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


class Tokens(nn.Module):
    """Image → tokens, a norm and a linear layer on them → image: how hybrids are written."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.back = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 6, 3, padding=1)
        self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.patch(x)
        tokens = self.linear(self.norm(y.flatten(2).transpose(1, 2)))
        image = tokens.transpose(1, 2).reshape(y.shape) + y
        return self.back(image).mean((2, 3))


class Branches(nn.Module):
    """Concatenation, split, slices, pooling, gates of one value per channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(12, 4, 1)
        self.gate = nn.Parameter(torch.randn(8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.first(x)) * self.gate
        a, b = y.split(4, 1)
        squeezed = y * torch.sigmoid(y.mean((2, 3), keepdim=True))
        pooled = nn.functional.interpolate(nn.functional.max_pool2d(a, 2), scale_factor=2)
        return self.last(torch.cat([pooled, b - a, squeezed[:, 2:6]], 1)).mean((2, 3))


def image(channels: int = 3) -> Tensor:
    return torch.randn(2, channels, 8, 8)


IMAGES = [
    Tokens(),
    Branches(),
    nn.Sequential(nn.Conv2d(3, 8, 3), nn.AvgPool2d(2), nn.Hardswish(), nn.Flatten()),
    nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    nn.Sequential(nn.Conv2d(3, 8, 3, padding="same"), nn.PixelShuffle(2), nn.SiLU()),
    nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8), nn.ChannelShuffle(2), nn.GELU()),
    nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 4, 3, 2), nn.Conv2d(4, 2, 1)),
    nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(3, 8, 3, dilation=2), nn.Softmax(1)),
]


@pytest.mark.parametrize(
    ("module", "transposes"),
    [(Tokens(), 1), (Branches(), 1)],  # only the image itself is transposed, once
    ids=lambda v: type(v).__name__,
)
def test_images_are_transposed_once(module: nn.Module, transposes: int) -> None:
    left = after_pass(module, image())
    weights = sum(isinstance(m, nn.Linear) for m in module.modules())  # kept as [N, K]
    assert left.count("relax.permute_dims") == transposes + weights


class Patches(nn.Module):
    """Patches of one image and a token in front, as every vision transformer begins."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), patches], 1)
        return x + self.layer(x)


def test_residual_behind_patches_is_part_of_the_layer(tmp_path: Path) -> None:
    """A batch of one may lie in any place: it must not keep values of one order apart."""
    x = torch.randn(1, 3, 8, 8)
    assert [call.meta.op for call in plan_of(Patches(), x).calls] == ["conv2d", "concat", "linear"]
    check_built(Patches(), [x], tmp_path / "net.mjb")


@pytest.mark.parametrize("number", range(len(IMAGES)))
def test_networks_on_images_compute_the_same(number: int, tmp_path: Path) -> None:
    torch.manual_seed(number)
    check_built(IMAGES[number], [image()], tmp_path / "image.mjb")


@pytest.mark.parametrize(
    ("before", "order", "after", "expected"),
    [
        ((2, 8, 4, 5), (0, 3, 1, 2), (2, 8, 20), ((2, 20, 8), (0, 2, 1))),
        ((2, 8, 20), (0, 2, 1), (2, 8, 4, 5), ((2, 4, 5, 8), (0, 3, 1, 2))),
        ((2, 8, 4, 6), (0, 3, 1, 2), (2, 8, 2, 2, 3, 2), ((2, 2, 2, 3, 2, 8), (0, 5, 1, 2, 3, 4))),
        ((1, 8, 1, 1), (0, 3, 1, 2), (1, 8), ((1, 8), (0, 1))),
        ((1, 8, 1, 1), (0, 3, 1, 2), (8,), ((8,), (0,))),
        ((2, 8, 4, 5), (0, 3, 1, 2), (2, 160), None),  # the model's order is not the stored one
        ((2, 8, 4, 5), (0, 3, 1, 2), (16, 4, 5), None),
    ],
)
def test_reshapes_of_what_is_stored(
    before: tuple[int, ...], order: tuple[int, ...], after: tuple[int, ...], expected: Any
) -> None:
    assert reshaped(before, order, after) == expected
    if expected is None:
        return
    shape, new_order = expected
    values = np.arange(np.prod(before)).reshape(before)
    stored = values.transpose(np.argsort(order)).reshape(shape)
    np.testing.assert_array_equal(stored.transpose(new_order), values.reshape(after))
