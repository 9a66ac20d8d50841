"""Pooling against the equation: padding, strides, and what a mean counts."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.conv import Case
from fixtures.kernels import ISAS, call, types_of
from millijoule.converters.ops import TensorType
from millijoule.targets.kernels.conv.pooling import Pooling, pool_f32
from millijoule.targets.target import Isa

CASES = [
    Case((9, 31), 17, 17, stride=(2, 2), groups=17),
    Case((7, 7), 64, 64, kernel=(2, 2), stride=(2, 2), padding=(0, 0, 0, 0), groups=64),
    Case((5, 6), 3, 3, kernel=(5, 3), padding=(2, 1, 2, 1), groups=3, batch=2),
    Case((7, 7), 16, 16, kernel=(7, 7), padding=(0, 0, 0, 0), groups=16),
]


def pooled(case: Case, op: str, isa: Isa, count_padding: bool = True) -> np.ndarray:
    shape = case.shape
    result = TensorType((case.batch, shape.rows.out, shape.columns.out, case.channels), "float32")
    pooling = Pooling(shape, op, count_padding, (case.padding[2], case.padding[3]))
    return call(pool_f32(pooling, types_of([case.x])[0], result, isa), [case.x], [result], isa)[0]


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
@pytest.mark.parametrize("number", range(len(CASES)))
def test_largest_value(number: int, isa: Isa) -> None:
    case = CASES[number]
    expected = np.max(list(case.windows(border=-np.inf).values()), axis=0)
    np.testing.assert_array_equal(pooled(case, "max", isa), expected)


@pytest.mark.parametrize("count_padding", [True, False])
@pytest.mark.parametrize("number", range(len(CASES)))
def test_mean(number: int, count_padding: bool) -> None:
    case = CASES[number]
    windows = list(case.windows(border=0 if count_padding else np.nan).values())
    isa = ISAS[number % len(ISAS)]
    got = pooled(case, "mean", isa, count_padding)
    np.testing.assert_allclose(got, np.nanmean(windows, axis=0), atol=1e-6)


def test_the_largest_of_infinities() -> None:
    case = CASES[1]

    class Infinite(Case):
        @property
        def x(self) -> np.ndarray:
            return np.full((1, 7, 7, 64), -np.inf, np.float32)

    got = pooled(Infinite(**vars(case)), "max", ISAS[0])
    assert (got == -np.inf).all()
