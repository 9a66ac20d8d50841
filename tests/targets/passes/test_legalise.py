"""Forms of ordinary operators that are ours, through the whole lowering, against torch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fixtures.programs import check_built, plan_of


class _Norms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(groups, 12) for groups in (1, 3, 12))
        for norm in self.norms:
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(norm(x) for norm in self.norms)


class _Places(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        ties = x.round()
        return ties.argmax(-1), ties.argmin(1), ties.argmax(2, keepdim=True), x.argmax(0)


@pytest.mark.parametrize("size", [1, 5, 33])
def test_group_norm(size: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    check_built(_Norms(), [torch.randn(2, 12, 3, size) + 3], tmp_path / "m.mjb")


def test_instance_norm(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.InstanceNorm2d(6, affine=True)
    check_built(module, [torch.randn(2, 6, 4, 5)], tmp_path / "m.mjb")
    assert all(c.meta.scheduled for c in plan_of(module, torch.randn(2, 6, 4, 5)).calls)


def test_argmax_and_argmin_give_the_first_of_equals(tmp_path: Path) -> None:
    torch.manual_seed(0)
    check_built(_Places(), [torch.randn(3, 17, 35)], tmp_path / "m.mjb")


@pytest.mark.parametrize("module", [_Norms, _Places])
def test_none_is_left_without_a_schedule(module: type[nn.Module]) -> None:
    plan = plan_of(module(), torch.randn(2, 12, 3, 8))
    assert [c.symbol for c in plan.calls if not c.meta.scheduled] == []


def test_kernels_carry_the_module_that_they_come_from() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.after = nn.LayerNorm(16), nn.LayerNorm(16)

        def forward(self, x: Tensor) -> Tensor:
            return self.after(self.before(x))

    calls = plan_of(Block(), torch.randn(1, 5, 16)).calls
    assert [c.meta.layer for c in calls] == ["before", "after"]
    assert len({c.symbol for c in calls}) == 1  # one piece of code all the same
