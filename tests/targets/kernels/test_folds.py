"""Rows folded together give the bits of one row after the other."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.kernels import ISAS, call
from fixtures.operands import normal
from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import KernelForm, simd
from millijoule.targets.kernels.folds import fold_rows
from millijoule.targets.target import Isa

TALLEST = 14


def sums(rows: int, isa: Isa, *, together: bool) -> np.ndarray:
    """Doubled sums of rows of one vector each, then row 0's first value in every lane."""
    lanes = isa.lanes
    x = normal((rows, lanes))
    x_type, y_type = TensorType(x.shape, "float32"), TensorType((2 * TALLEST + 32,), "float32")
    with tir.kernel("sums", [x_type], [y_type]) as k:
        source, target = k.buffers
        acc = simd.Accumulators(rows, lanes, lanes)
        acc.fill(lambda row, _: simd.load(source, [row], 0, lanes))
        if together:
            folded = fold_rows(acc, lambda a, b: a + b).map(lambda v, _: v + v)
            folded.store(target, [])
            for row in range(rows):
                simd.save(target, [], TALLEST + 16 + row, 1, folded.splat(row, 1))
        else:
            for row in range(rows):
                total = acc.across(row, lambda a, b: a + b)
                for at in (row, TALLEST + 16 + row):
                    tir.store(target, [at], total[0] + total[0])
    y = call(KernelForm(k.func), [x], [y_type], isa)[0]
    return np.stack([y[:rows], y[TALLEST + 16 :][:rows]])


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
@pytest.mark.parametrize("rows", [1, 2, 5, 6, TALLEST])
def test_same_bits_as_one_row_after_the_other(rows: int, isa: Isa) -> None:
    np.testing.assert_array_equal(sums(rows, isa, together=True), sums(rows, isa, together=False))
