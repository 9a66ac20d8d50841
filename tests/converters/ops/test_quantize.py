"""``quantize``: reference, naive TIR, rounding and saturation."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.kernels import run_naive
from fixtures.operands import normal
from millijoule.converters.ops.quantize import quantize_reference


def test_half_away_from_zero_and_saturation() -> None:
    x = np.array([0, -0.0, 0.49, 0.5, -0.5, 1.5, -2.5, 126.6, 127.4, 1e9, -1e9, np.inf, -np.inf])
    expected = [0, 0, 0, 1, -1, 2, -3, 127, 127, 127, -127, 127, -127]
    x = x.astype(np.float32)
    np.testing.assert_array_equal(quantize_reference(x, 1.0), expected)
    (q,) = run_naive("quantize", {"scale": 1.0}, [x])
    assert q.dtype == np.int8
    np.testing.assert_array_equal(q, expected)


@pytest.mark.parametrize("shape", [(1,), (17,), (3, 65), (2, 3, 5, 7)])
@pytest.mark.parametrize("scale", [0.013, 1 / 64, 3.7])
def test_naive_is_the_reference(shape: tuple[int, ...], scale: float) -> None:
    x = normal(shape)
    (q,) = run_naive("quantize", {"scale": scale}, [x])
    np.testing.assert_array_equal(q, quantize_reference(x, scale))
    inside = np.abs(x) < 126 * scale
    # half a step, and float32's rounding of the product
    assert np.abs(q * scale - x)[inside].max() <= scale * 0.50001
