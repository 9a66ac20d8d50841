"""The tables of what targets have, held against what their passes do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import tvm
from torch import Tensor, nn
from tvm import relax

from fixtures.programs import model_of
from millijoule.converters.model import Model
from millijoule.converters.ops import VOCABULARY, TensorType
from millijoule.errors import UsageError
from millijoule.targets.support import check_model, operators
from millijoule.targets.target import NAMES


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.vector_norm(self.linear(x), dim=-1)


def test_a_model_that_fits() -> None:
    found = check_model(model_of(Small(), torch.randn(3, 8)), "cortex-m4")
    assert found.problems == []
    uses = {u.operator: (u.count, u.support) for u in found.uses}
    assert uses["matmul"] == (1, "kernel")
    assert found.kernels >= 2
    assert found.unscheduled >= 1


def unfit() -> Model:
    """``unique``, whose result has as many elements as it likes, behind an ordinary sum."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4,), "float32"))
    with builder.function("main", params=[x]):
        with builder.dataflow():
            y = builder.emit(relax.op.add(x, x), "first")
            z = builder.emit(relax.op.unique(y, False, False, False, False), "second")
            out = builder.emit_output(z)
        builder.emit_func_output(out)
    t = TensorType((4,), "float32")
    sample = {"x": np.ones(4, np.float32)}
    return Model("unfit", builder.get(), {"second": "head"}, (("x", t),), (("y", t),), sample, {})


@pytest.mark.parametrize("target", ["host", "tensorrt"])
def test_a_missing_operator_is_named_with_its_layer(target: str) -> None:
    found = check_model(unfit(), target)
    (problem,) = found.problems
    assert (problem.operator, problem.where) == ("unique", "layer head")
    assert problem.reason == f"{target} has no form of it"
    assert {u.operator: u.support for u in found.uses}["unique"] == "missing"


def test_an_unknown_target() -> None:
    with pytest.raises(UsageError, match="must be one of host"):
        operators("cortex-m0")


@pytest.mark.parametrize("target", NAMES)
def test_every_target_has_a_table(target: str) -> None:
    table = operators(target)
    assert table["matmul"] in ("kernel", "graph")
    assert "nonzero" not in table


def test_cpus_have_every_vocabulary_op() -> None:
    assert {f"mj.{name}" for name in VOCABULARY} <= operators("host").keys()


def test_names_in_the_table_are_operators_of_relax() -> None:
    known = set(map(str, tvm.ir.Op.list_op_names()))
    plain = [name for name in operators("host") if not name.startswith("mj.")]
    assert [name for name in plain if f"relax.{name}" not in known] == []
