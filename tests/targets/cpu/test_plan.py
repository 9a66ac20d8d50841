"""Plans: aliases, copies, shared code and shared weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fixtures.models import LMUFORMER
from fixtures.programs import check_built, plan_of
from millijoule.converters import convert
from millijoule.targets.cpu.plan import ALIGNMENT, Plan, Ref, make_plan
from millijoule.targets.passes.pipeline import lower_for_cpu
from millijoule.targets.target import get_target


class Wired(nn.Module):
    """A function of x and one linear layer."""

    def __init__(self, wiring: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self._wiring = wiring

    def forward(self, x: Tensor) -> Any:
        return self._wiring(self, x)


def twice(net: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    y = net.linear(x)
    return y, y.clone()


def reshaped(net: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    y = net.linear(x)
    return y, y.reshape(2, 12)


def reshaped_input(net: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    return x.reshape(12, 2), net.linear(x)


def with_constant(net: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    return net.linear(x), torch.arange(5, dtype=torch.float32)


def through_a_view(net: Any, x: Tensor) -> Tensor:
    return net.linear(net.linear(x).reshape(3, 2, 4)).reshape(6, 4)


@pytest.mark.parametrize(
    ("wiring", "copies"),
    [(twice, 1), (reshaped, 1), (reshaped_input, 1), (with_constant, 1), (through_a_view, None)],
)
def test_outputs_that_no_kernel_writes(
    wiring: Callable[[Any, Tensor], Any], copies: int | None, tmp_path: Path
) -> None:
    x = torch.randn(6, 4)
    if copies is not None:
        assert len(plan_of(Wired(wiring), x).copies) == copies
    check_built(Wired(wiring), [x], tmp_path / "net.mjb")


def test_equal_layers_share_code_and_equal_weights_bytes() -> None:
    same = nn.Linear(4, 4)
    net = nn.Sequential(same, nn.ReLU(), same, nn.ReLU(), nn.Linear(4, 4), nn.ReLU())
    plan = plan_of(net, torch.randn(6, 4))
    assert len(plan.calls) == 3
    assert len(plan.kernels) == 1
    weights = [[r.offset for r in call.operands if r.space == "weights"] for call in plan.calls]
    assert weights[0] == weights[1] != weights[2]


def test_memory_is_reused() -> None:
    layers = [nn.Linear(64, 64) for _ in range(8)]
    plan = plan_of(nn.Sequential(*layers), torch.randn(16, 64))
    assert plan.planned_bytes <= 3 * 16 * 64 * 4


@pytest.fixture(scope="module", params=[False, True], ids=["whole", "streaming"])
def plan(request: pytest.FixtureRequest) -> Plan:
    """The plan of a spiking model."""
    model = convert(LMUFORMER[1].path, streaming=request.param)
    return make_plan(lower_for_cpu(model.module, get_target("host"), model.layers))


def test_everything_is_aligned_and_inside(plan: Plan) -> None:
    limits = {"arena": plan.planned_bytes, "weights": len(plan.weights)}
    for call in plan.calls:
        for ref in call.args:
            if ref.space in limits:
                size = ref.type.nbytes
                assert ref.offset % ALIGNMENT == 0
                assert ref.offset + size <= limits[ref.space]


def _extent(ref: Ref) -> tuple[int, int]:
    return ref.offset, ref.offset + ref.type.nbytes


def test_no_kernel_writes_what_it_reads(plan: Plan) -> None:
    """Kernels assume that their buffers do not overlap."""
    for call in plan.calls:
        read = [_extent(ref) for ref in call.operands if ref.space == "arena"]
        for start, end in (_extent(ref) for ref in call.outputs if ref.space == "arena"):
            assert all(start >= other_end or end <= other for other, other_end in read)


def test_kernels_write_no_inputs_or_weights(plan: Plan) -> None:
    written = {ref.space for call in plan.calls for ref in call.outputs}
    assert written <= {"arena", "output"}
    assert all(call.symbol in plan.kernels for call in plan.calls)
    assert set(plan.kernels) == {call.symbol for call in plan.calls}
