"""``lmu_memory`` and its steps for GPUs: around the length of the response, and gated."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.gpu import call_of, check
from fixtures.operands import int8, lmu_step_fixed_operands, lmu_step_operands, normal, spikes
from millijoule.converters.ops.lmu_memory import (
    lmu_memory_reference,
    lmu_step_fixed_reference,
    lmu_step_reference,
)

# sums of at most 40 float32 of size 1, in another order than NumPy's
SUM = 1e-5
STEPS = ((0, 1), (5, 1), (12, 1), (40, 1), (5, 0))  # now, valid; the response has 12 rows


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_float(dtype: str, tmp_path: Path) -> None:
    calls = {}
    for order in (1, 65, 300):
        u = spikes((2, 10), rate=0.4) if dtype == "uint8" else normal((2, 10))
        impulse = normal((12, order))
        expected = lmu_memory_reference(u, impulse)
        calls[f"order-{order}"] = call_of("lmu_memory", {}, [u, impulse], expected, SUM)
    for now, valid in STEPS:
        arrays = lmu_step_operands(17, 12, now, valid, dtype)
        expected = lmu_step_reference(*arrays)
        calls[f"step-{now}-{valid}"] = call_of("lmu_step", {}, arrays, expected, SUM)
    check(tmp_path, calls)


def test_integers(tmp_path: Path) -> None:
    u, impulse = spikes((2, 40), rate=0.4), int8((40, 65))
    expected = lmu_memory_reference(u, impulse)
    calls = {"sequence": call_of("lmu_memory", {}, [u, impulse], expected)}
    for now, valid in STEPS:
        arrays = lmu_step_fixed_operands(17, 12, now, valid)
        expected = lmu_step_fixed_reference(*arrays)
        calls[f"step-{now}-{valid}"] = call_of("lmu_step_fixed", {}, arrays, expected)
    check(tmp_path, calls)
