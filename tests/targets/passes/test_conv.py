"""What becomes a convolution kernel with its epilogue, and what is left around it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fixtures.programs import check_built, plan_of


class Residual(nn.Module):
    """The later convolution takes the sum; a gate per channel is a column for neither."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.gate = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.hardswish(self.a(x))
        z = F.relu(self.b(y) + y)
        return (z * torch.sigmoid(self.gate(z.mean((2, 3), keepdim=True)))).mean((2, 3))


class Reshuffled(nn.Module):
    """Filters that the input decides on stay an ordinary operator."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, x[:1, :, :3, :3]).mean((2, 3))


CASES = {
    "a chain": (
        nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.SiLU(), nn.Flatten(2)),
        ["conv2d"],
    ),
    "clipped": (
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        ["conv2d", "mean_pool2d"],
    ),
    "pools": (
        nn.Sequential(
            nn.MaxPool2d(3, 2, 1),
            nn.AvgPool2d(2, ceil_mode=True, padding=1, count_include_pad=False),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ),
        ["max_pool2d", "mean_pool2d", "mean_pool2d"],
    ),
    "resized": (
        nn.Sequential(
            nn.Upsample(scale_factor=2),
            nn.Upsample(scale_factor=1.5, mode="bilinear"),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ),
        ["resize2d", "resize2d", "mean_pool2d"],
    ),
    "residual": (Residual(), ["conv2d", "conv2d", "mean_pool2d", "conv2d", "mean_pool2d"]),
    "pointwise": (
        nn.Sequential(nn.Conv2d(3, 16, 1), nn.GELU(), nn.AvgPool2d(3), nn.Flatten(2)),
        ["conv2d", "mean_pool2d"],
    ),
    # a convolution by rule: its filters cannot be packed when the model is built
    "computed filters": (Reshuffled(), ["conv2d", "mean_pool2d"]),
}
IMAGE = (2, 3, 11, 13)
OURS = {"conv2d", "max_pool2d", "mean_pool2d", "resize2d"}  # the rest is scheduled by rule


@pytest.mark.parametrize("name", CASES)
def test_kernels(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, kernels = CASES[name]
    x = torch.randn(IMAGE)
    calls = plan_of(module, x).calls
    assert all(call.meta.scheduled for call in calls)
    assert [call.meta.op for call in calls if call.meta.op in OURS] == kernels
    check_built(module, [x], tmp_path / "net.mjb")


def test_an_image_of_few_channels_is_not_transposed() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert len(plan_of(net, torch.randn(IMAGE)).calls) == 2


def test_layers_are_named_and_counted() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(2))
    call = plan_of(net, torch.randn(IMAGE)).calls[0]
    results = 2 * 9 * 11 * 8
    assert call.meta.layer == "0"
    assert call.meta.multiplies == results * 27
    assert call.meta.adds == results * 28
