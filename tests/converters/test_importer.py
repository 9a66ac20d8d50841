"""What the importer keeps, names, folds and refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fixtures.programs import model_of, plan_of
from millijoule.errors import UnsupportedError


class Unsupported(nn.Module):
    """Calls an operator that TVM does not import."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)


def test_an_unsupported_operator_is_named_with_its_place() -> None:
    with pytest.raises(UnsupportedError, match="bessel_j0") as caught:
        model_of(Unsupported(), torch.randn(3))
    message = str(caught.value)
    assert "\n" not in message
    assert "test_importer.py" in message
    assert "rewrite it with supported operators" in message
    assert caught.value.exit_code == 3


class Folding(nn.Module):
    """Weights that are computed from parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.gain = nn.Parameter(torch.rand(4))

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight * torch.rsqrt(self.gain + 1e-5)[:, None]).exp().T
        return x @ weight


def test_what_depends_on_no_input_is_computed_once() -> None:
    plan = plan_of(Folding(), torch.randn(3, 4))
    assert [call.meta.op for call in plan.calls] == ["linear"]


def test_layers_are_named_by_module_path() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2)))
    calls = plan_of(net, torch.randn(5, 3)).calls
    assert [call.meta.layer for call in calls] == ["0", "2.0"]
