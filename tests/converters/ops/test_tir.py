"""Loops of kernels: ranges that start anywhere, and what `tir.kernel` refuses."""

from __future__ import annotations

import numpy as np
import pytest
import tvm.script.ir_builder.tirx as T

from fixtures.kernels import call
from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import KernelForm


def test_bounds_of_a_range_inside_a_range() -> None:
    """Each of 4 workers has 3 of 12 items; item i counts i // 2 up to i // 2 + i % 3."""
    counts = TensorType((12, 8), "int32")
    with tir.kernel("count", [], [counts]) as k:
        (out,) = k.buffers
        with (
            T.parallel(0, 4) as worker,
            tir.between(3 * worker, 3 * worker + 3) as item,
        ):
            with T.serial(0, 8) as j:
                tir.store(out, [item, j], T.int32(0))
            with tir.between(item // 2, item // 2 + item % 3) as j:
                tir.store(out, [item, j], out[item, j] + 1)
    (got,) = call(KernelForm(k.func), [], [counts])
    want = [[int(i // 2 <= j < i // 2 + i % 3) for j in range(8)] for i in range(12)]
    np.testing.assert_array_equal(got, want)


def test_loops_that_start_elsewhere_are_refused() -> None:
    vector = TensorType((8,), "float32")
    message = r"^\[kernel\] loops start at zero, but one of late at 2; use tir\.between$"
    with (
        pytest.raises(ValueError, match=message),
        tir.kernel("late", [], [vector]) as k,
        T.serial(2, 8) as i,
    ):
        tir.store(k.buffers[0], [i], T.float32(0))
