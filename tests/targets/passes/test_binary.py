"""Binary layers in programs: who packs signs, what is never written, and that results agree."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fixtures.programs import check_built, model_of, plan_of
from millijoule.converters.ops import binarize, binary_attention, binary_linear
from millijoule.targets.cpu.plan import Plan, make_plan
from millijoule.targets.passes.pipeline import lower_for_cpu
from millijoule.targets.target import get_target

LIMIT = -5.5


class Linear(nn.Module):
    """A binary layer of random signs; ``zeros``: one weight is 0."""

    def __init__(self, inputs: int, outputs: int, *, zeros: bool = False, kind: str = "sign"):
        super().__init__()
        w, alpha = binarize(torch.randn(outputs, inputs))
        w[0, 0] = 0 if zeros else 1
        self.register_buffer("w", w)
        self.register_buffer("alpha", alpha * 0.1)
        self.bias = nn.Parameter(torch.randn(outputs) * 0.1)
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        return binary_linear(x, self.w, self.alpha, self.bias, activations=self.kind)


class Block(nn.Module):
    """Attention and two layers, as BERT has them; ``d``: the size of each of two heads."""

    def __init__(self, d: int) -> None:
        super().__init__()
        width = 2 * d
        self.q, self.k, self.v, self.o = (Linear(width, width) for _ in range(4))
        self.up, self.down = Linear(width, 2 * width), Linear(2 * width, width, zeros=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.q(x), self.k(x), self.v(x)
        context, _ = binary_attention(q, k, v, rule="bool", heads=2, mask=mask, maps=False)
        x = self.norm(self.o(context) + x)
        y = self.up(x)
        return self.down(torch.where(y > LIMIT, y, 0.0)) + x


class Shifted(nn.Module):
    """BiPFT's way: every layer adds a vector of its own before it takes signs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b, self.c = (Linear(width, width) for _ in range(3))
        self.move = nn.Parameter(torch.randn(3, width))

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.a(x + self.move[0])) + self.move[1]
        return self.b(y) + self.c(x + self.move[2])


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(3)


def block_inputs(width: int) -> tuple[Tensor, Tensor]:
    mask = torch.zeros(2, 9)
    mask[:, 7:] = -10000
    return torch.randn(2, 9, width), mask


def outputs(plan: Plan, op: str) -> list[list[str]]:
    """Dtypes of the results of every call of ``op``."""
    calls = [c for c in plan.calls if c.meta.op == op]
    return [[o.type.dtype for o in c.outputs[: c.meta.results]] for c in calls]


def test_signs_are_packed_once_and_floats_left_out() -> None:
    plan = plan_of(Block(32), *block_inputs(64))
    assert len(outputs(plan, "pack_signs")) == 2  # the input, and what the norm returns
    names = ["q", "k", "v", "o", "up", "down"]
    layers = [c.meta.layer for c in plan.calls if c.meta.op == "binary_linear"]
    found = dict(zip(layers, outputs(plan, "binary_linear"), strict=True))
    bits, floats = ["uint32"], ["float32"]
    assert found == dict(zip(names, [bits, bits, bits, floats, bits, floats], strict=True))
    assert outputs(plan, "binary_attention") == [bits]
    others = {c.meta.op for c in plan.calls} - {"pack_signs", "binary_linear", "binary_attention"}
    assert all("norm" in op for op in others), others  # residuals are epilogues, `where` is a limit


@pytest.mark.parametrize("d", [32, 24, 15])
def test_blocks(d: int, tmp_path: Path) -> None:
    check_built(Block(d), block_inputs(2 * d), tmp_path / "m.mjb")


def test_shifts(tmp_path: Path) -> None:
    module, x = Shifted(70), torch.randn(3, 5, 70)
    check_built(module, [x], tmp_path / "m.mjb")
    plan = plan_of(module, x)
    # GELU and the shift behind it are the epilogue of the first layer, which emits bits alone
    assert outputs(plan, "binary_linear") == [["uint32"], ["float32"], ["float32"]]
    assert len(plan.calls) == 5


class Both(nn.Module):
    """Signs for one layer and floats for another reader, with real activations in between."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = Linear(40, 64), Linear(64, 33, kind="real", zeros=True)
        self.c = Linear(64, 33)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = F.relu(self.a(x))
        return self.b(y) + self.c(y), y


def test_floats_and_bits_of_one_value(tmp_path: Path) -> None:
    x = torch.randn(4, 40)
    check_built(Both(), [x], tmp_path / "m.mjb")
    plan = plan_of(Both(), x)
    assert outputs(plan, "binary_linear")[0] == ["float32", "uint32"]


def test_counts_and_bytes() -> None:
    """One bit per weight, two where a layer has a zero; one operation per product of signs."""
    plan = plan_of(Block(32), *block_inputs(64))
    calls = [c for c in plan.calls if c.meta.op == "binary_linear"]
    assert [c.meta.binary_ops for c in calls] == [18 * 64 * n for n in (64,) * 4 + (128, 128)]
    weights = [c.operands[1].type.nbytes for c in calls]
    assert weights == [64 * 64 // 8] * 4 + [64 * 128 // 8, 2 * 64 * 128 // 8]
    assert len(plan.weights) < 2 * sum(weights) + 4096


@pytest.mark.parametrize(
    ("target", "packs"), [("cortex-a72", 2), ("x86-64-v3", 2), ("cortex-m55", 6), ("cortex-m7", 7)]
)
def test_other_targets_share_signs(target: str, packs: int) -> None:
    """Where tiles are narrower than a word, signs are packed behind each layer, still once."""
    model = model_of(Block(32), *block_inputs(64))
    plan = make_plan(lower_for_cpu(model.module, get_target(target), model.layers))
    assert len(outputs(plan, "pack_signs")) == packs
