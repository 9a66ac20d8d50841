"""Scheduled ``lmu_memory``, ``lmu_step`` and ``lmu_step_fixed`` against their references."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.kernels import ISAS, run_scheduled
from fixtures.operands import (
    int8,
    lmu_step_fixed_operands,
    lmu_step_operands,
    normal,
    spikes,
)
from millijoule.converters.ops.lmu_memory import (
    lmu_memory_reference,
    lmu_step_fixed_reference,
    lmu_step_reference,
)
from millijoule.targets.target import Isa

by_isa = pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
by_kind = pytest.mark.parametrize("dtype", ["uint8", "float32"])


def inputs(dtype: str, steps: int) -> np.ndarray:
    return spikes((2, steps), rate=0.4) if dtype == "uint8" else normal((2, steps))


@by_isa
@by_kind
@pytest.mark.parametrize("order", [1, 15, 17, 65, 300])
def test_sequence(order: int, dtype: str, isa: Isa) -> None:
    u, impulse = inputs(dtype, 10), normal((12, order))
    (m,) = run_scheduled("lmu_memory", {}, [u, impulse], isa)
    np.testing.assert_allclose(m, lmu_memory_reference(u, impulse), atol=1e-5)


@by_isa
@by_kind
def test_every_step_spikes(dtype: str, isa: Isa) -> None:
    u, impulse = np.ones((1, 12), dtype), normal((12, 5))
    (m,) = run_scheduled("lmu_memory", {}, [u, impulse], isa)
    np.testing.assert_allclose(m[0], impulse.cumsum(axis=0), atol=1e-5)


@by_isa
@by_kind
@pytest.mark.parametrize("order", [1, 17, 130])
def test_step(order: int, dtype: str, isa: Isa) -> None:
    for now, valid in ((0, 1), (5, 1), (11, 1), (12, 1), (40, 1), (5, 0), (40, 0)):
        operands = lmu_step_operands(order, 12, now, valid, dtype)
        results = run_scheduled("lmu_step", {}, operands, isa)
        expected = lmu_step_reference(*operands)
        for name, got, want in zip(("out", "history", "m", "t"), results, expected, strict=True):
            np.testing.assert_allclose(got, want, atol=1e-4, err_msg=f"{name} at step {now}")


@by_isa
@by_kind
def test_a_stream_gives_the_bits_of_the_sequence(dtype: str, isa: Isa) -> None:
    steps, order = 6, 35
    u, impulse = inputs(dtype, steps)[:1], normal((steps, order))
    (whole,) = run_scheduled("lmu_memory", {}, [u, impulse], isa)
    operands = lmu_step_operands(order, steps, 0, 1, dtype, batch=1)
    history, m, t = np.zeros((1, steps), dtype), np.zeros((1, order), np.float32), operands[6]
    for now in range(steps):
        step = [u[:, now : now + 1].copy(), impulse, *operands[2:4], history, m, t, operands[7]]
        out, history, m, t = run_scheduled("lmu_step", {}, step, isa)
        np.testing.assert_array_equal(out[0, 0], whole[0, now])


@by_isa
@pytest.mark.parametrize("order", [1, 15, 17, 65, 300])
def test_int8_sequence(order: int, isa: Isa) -> None:
    u, impulse = inputs("uint8", 10), int8((12, order))
    (m,) = run_scheduled("lmu_memory", {}, [u, impulse], isa)
    np.testing.assert_array_equal(m, lmu_memory_reference(u, impulse))


@by_isa
@pytest.mark.parametrize(("order", "length"), [(1, 12), (17, 12), (130, 300)])
def test_int8_step(order: int, length: int, isa: Isa) -> None:
    for now, valid in ((0, 1), (5, 1), (length - 1, 1), (length, 1), (999, 1), (5, 0), (999, 0)):
        operands = lmu_step_fixed_operands(order, length, now, valid)
        if length > 256:  # more rows than 16-bit sums hold
            operands[5][:, : min(now, length)] = 1
            operands[1][:, 0] = -128
        results = run_scheduled("lmu_step_fixed", {}, operands, isa)
        expected = lmu_step_fixed_reference(*operands)
        for name, got, want in zip(("out", "history", "m", "t"), results, expected, strict=True):
            np.testing.assert_array_equal(got, want, err_msg=f"{name} at step {now}")
