"""What kernels of an int8 program compute on, and what that is worth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from millijoule.bundle import Kernel, KernelOutput
from millijoule.energy import Work, cost_table, estimate
from millijoule.profiling.operations import _dtype


def kernel(op: str, dtype: str) -> Kernel:
    output = KernelOutput(name=None, offset=0, shape=(1, 4), dtype=dtype, batch_axis=0)
    return Kernel("k", op, "layer", 4, 4, 0, 0, 0, 0, (output,), None)


@pytest.mark.parametrize(
    ("op", "result", "computes_on"),
    [
        ("spike_conv", "int32", "int8"),
        ("linear", "float32", "int8"),  # with the way back to float behind it
        ("lmu_step_fixed", "int32", "int8"),
        ("lif_fixed", "uint8", "int32"),
        ("fused_cast_multiply_add", "int32", "int32"),
        ("quantize", "int8", "float32"),
        ("gelu", "float32", "float32"),
    ],
)
def test_operands(op: str, result: str, computes_on: str) -> None:
    assert _dtype(kernel(op, result), "int8") == computes_on
    assert _dtype(kernel(op, result), "float32") == "float32"
    assert _dtype(replace(kernel(op, result), outputs=()), "float16") == "float16"
    ours = replace(kernel(op, result), name="mjk_1_x")  # stores halves, calculates in float32
    assert _dtype(ours, "float16") == "float32"
    assert _dtype(replace(ours, name="mjk_1_x_f16"), "float16") == "float16"


def total(*work: Work) -> Any:
    table = cost_table("horowitz-isscc14-45nm")
    found = estimate(work, table, dtype="int8", weight_bytes=0, arena_bytes=0)
    return found.compute_mj.value * 1e9  # pJ


def test_prices() -> None:
    """Horowitz: int8 multiply 0.2, int32 multiply 3.1, int32 add 0.1, float32 3.7 and 0.9 pJ."""
    assert total(Work("a", multiplies=10, adds=10)) == pytest.approx(3.0)
    assert total(Work("a", 10, 10, dtype="int32")) == pytest.approx(32.0)
    assert total(Work("a", 10, 10, dtype="float32")) == pytest.approx(46.0)
    mixed = Work("a", 0, 100, dtype="int8"), Work("b", 1, 1, dtype="float32")
    assert total(*mixed) == pytest.approx(14.6)
