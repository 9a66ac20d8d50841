"""float16 between kernels: which buffers become halves, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import millijoule as mj
from millijoule.converters.model import Model
from millijoule.errors import UnsupportedError
from millijoule.targets.cpu.build import build_cpu
from millijoule.targets.cpu.plan import Plan, make_plan
from millijoule.targets.passes.pipeline import lower_for_cpu
from millijoule.targets.passes.storage import SMALL
from millijoule.targets.target import Target, get_target
from millijoule.verification import verify

WIDTH, HIDDEN = 65, 70
HOST = get_target("host")


class Mixed(nn.Module):
    """Two layers, a norm, a table read by ids, and one with numbers that no half can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.table = nn.Embedding(40, HIDDEN)
        self.register_buffer("large", torch.linspace(-1e6, 1e6, SMALL).reshape(1, SMALL))

    def forward(self, x: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """[1, 9, WIDTH] and [1, 9] int64 → [1, 9, WIDTH], [1, SMALL]."""
        y = torch.tanh(self.first(x)) + self.table(ids)
        y = self.second(nn.functional.layer_norm(y, (HIDDEN,)))
        return y, self.large * torch.sigmoid(y[:, 0, :1])


def lowered(target: Target, half: bool) -> tuple[Plan, Model]:
    """The plan of `Mixed`, and the model."""
    torch.manual_seed(0)
    inputs = (torch.randn(1, 9, WIDTH), torch.randint(0, 40, (1, 9)))
    model = mj.convert(Mixed().eval(), example_inputs=inputs)
    module = lower_for_cpu(model.module, target, model.layers, half=half)
    return make_plan(module, target.alignment), model


def dtypes(plan: Plan, space: str) -> Mapping[tuple[int, ...], set[str]]:
    """Types of the buffers of one kind by shape."""
    found: dict[tuple[int, ...], set[str]] = {}
    for call in plan.calls:
        for ref in call.args:
            if ref.space == space:
                found.setdefault(ref.type.shape, set()).add(ref.type.dtype)
    return found


def test_what_becomes_halves(tmp_path: Path) -> None:
    plan, model = lowered(HOST, half=True)
    single, _ = lowered(HOST, half=False)
    weights = dtypes(plan, "weights")
    assert weights[40, HIDDEN] == {"float16"}
    assert weights[1, SMALL] == {"float32"}  # a million is no half
    assert weights[HIDDEN,] == {"float32"}  # biases cost nothing
    assert {d for types in dtypes(plan, "output").values() for d in types} == {"float32"}
    assert {d for types in dtypes(plan, "input").values() for d in types} == {"float32", "int64"}
    assert "float16" in {d for types in dtypes(plan, "arena").values() for d in types}
    assert len(plan.calls) == len(single.calls)
    assert len(plan.weights) < 0.66 * len(single.weights)
    build_cpu(model, HOST, tmp_path / "m.mjb", 1, lambda _: None, half=True).close()
    with mj.load(tmp_path / "m.mjb") as session:
        assert session.manifest.target.dtype == "float16"
        checks = verify(session)
        assert [check for check in checks if not check.passed] == []


def test_products_in_halves_say_so() -> None:
    """Only where the vector unit multiplies in them; norms and functions never."""
    plan, _ = lowered(get_target("cortex-a76"), half=True)
    names = [call.symbol for call in plan.calls]
    assert sum(name.endswith("_linear_f16") for name in names) == 2
    assert all(name.endswith("_f16") == ("linear" in name) for name in names)


def test_refusals(tmp_path: Path) -> None:
    model = mj.convert(nn.Linear(3, 2).eval(), example_inputs=(torch.zeros(1, 3),))
    with pytest.raises(UnsupportedError, match=r"cortex-a72 computes .*\(cortex-a76, .* do\)"):
        mj.build(model, target="cortex-a72", dtype="float16", out=tmp_path / "no.mjb")
    assert not list(tmp_path.iterdir())
