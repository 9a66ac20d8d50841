"""``rescale``: naive TIR and reference against exact rationals."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.kernels import run_naive
from fixtures.operands import rescale_operands
from millijoule.converters.ops.rescale import rescale_reference

words = st.integers(-(2**31), 2**31 - 1)


@given(x=words, multiplier=words, right=st.integers(1, 62))
def test_reference_rounds_to_nearest_ties_upwards(x: int, multiplier: int, right: int) -> None:
    exact = Fraction(x * multiplier, 2**right)
    expected = floor(exact + Fraction(1, 2))
    if -(2**31) <= expected < 2**31:
        row = [np.array([value], np.int32) for value in (x, multiplier, 0)]
        assert rescale_reference(*row, right)[0] == expected


@pytest.mark.parametrize("shape", [(1,), (17,), (3, 65), (2, 3, 5, 7)])
@pytest.mark.parametrize("right", [1, 15, 32, 40])
def test_naive_is_the_reference(shape: tuple[int, ...], right: int) -> None:
    operands = rescale_operands(shape, right)
    (y,) = run_naive("rescale", {"right": right}, operands)
    assert y.dtype == np.int32
    np.testing.assert_array_equal(y, rescale_reference(*operands, right))
