"""What becomes one kernel of a layer norm, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fixtures.programs import check_built, plan_of


class Net(nn.Module):
    """Two layers, put together by a function."""

    def __init__(self, wiring: Callable[..., object]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.norm = nn.Linear(24, 24), nn.LayerNorm(24)
        self.scale = nn.Parameter(torch.randn(24))
        with torch.no_grad():
            self.norm.weight.normal_()
            self.norm.bias.normal_()
        self._wiring = wiring

    def forward(self, *inputs: Tensor) -> object:
        return self._wiring(self, *inputs)


def alone(net: Net, x: Tensor) -> Tensor:
    return net.norm(x)


def sum_of_two(net: Net, x: Tensor, z: Tensor) -> Tensor:
    return net.norm(x + z)


def sum_that_is_returned(net: Net, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    y = x + z
    return net.norm(y), y


def residual_of_a_product(net: Net, x: Tensor) -> Tensor:
    return net.norm(x + net.a(x))


def tail(net: Net, x: Tensor) -> Tensor:
    return x + net.norm(x) * net.scale


def two_axes(net: Net, x: Tensor) -> Tensor:
    return F.layer_norm(x, (5, 24))


@pytest.mark.parametrize(
    ("wiring", "kernels"),
    [
        (alone, ["layer_norm"]),
        (residual_of_a_product, ["linear", "layer_norm"]),
        (tail, ["layer_norm"]),
    ],
)
def test_one_kernel(wiring: Callable[..., object], kernels: list[str], tmp_path: Path) -> None:
    x = torch.randn(2, 5, 24)
    assert [call.meta.op for call in plan_of(Net(wiring), x).calls] == kernels
    check_built(Net(wiring), [x], tmp_path / "net.mjb")


@pytest.mark.parametrize(("wiring", "before"), [(sum_of_two, []), (sum_that_is_returned, ["add"])])
def test_a_sum_that_only_the_norm_reads_is_part_of_it(
    wiring: Callable[..., object], before: list[str], tmp_path: Path
) -> None:
    inputs = [torch.randn(2, 5, 24), torch.randn(2, 5, 24)]
    assert [c.meta.op for c in plan_of(Net(wiring), *inputs).calls] == [*before, "layer_norm"]
    check_built(Net(wiring), inputs, tmp_path / "net.mjb")


def test_several_axes(tmp_path: Path) -> None:
    x = torch.randn(2, 5, 24)
    check_built(Net(two_axes), [x], tmp_path / "net.mjb")


def test_named_and_counted() -> None:
    (call,) = plan_of(Net(tail), torch.randn(2, 5, 24)).calls
    elements = 2 * 5 * 24
    assert call.meta.layer == "norm"
    assert call.meta.multiplies == 4 * elements  # square, factor, weight, scale
    assert call.meta.adds == 6 * elements  # two sums, two differences, bias, residual
