"""The arithmetic of quantization against exact rationals."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millijoule.converters.ops.lif_fixed.reference import scaled
from millijoule.targets.passes.quantize.numbers import (
    FRACTION_BITS,
    INT32_LIMIT,
    MAX_SHIFT,
    POTENTIAL_BITS,
    common_multiplier,
    fixed,
    fraction_for,
    multipliers,
    quantize_weights,
    round_half_away,
    sqnr_db,
)

# the factors that layers have, and far beyond
FACTORS = st.floats(2.0**-31, 2.0**29) | st.floats(-(2.0**29), -(2.0**-31))
INT32 = st.integers(-INT32_LIMIT, INT32_LIMIT)


@given(FACTORS)
def test_a_multiplier_has_31_bits(factor: float) -> None:
    (m,), (right,) = multipliers(np.array([factor]))
    assert abs(m) <= INT32_LIMIT
    assert 1 <= right <= MAX_SHIFT
    exact, approximation = Fraction(factor), Fraction(int(m), 1 << int(right))
    # a mantissa of 31 bits rounded to nearest: half a unit of 2⁻³⁰ relative
    assert abs(approximation - exact) <= abs(exact) / 2**31


@given(FACTORS, INT32)
def test_rescaling_is_the_product_rounded_to_nearest(factor: float, x: int) -> None:
    m, right = multipliers(np.array([factor]))
    got = int(scaled(np.array([x]), m, right)[0])
    product = Fraction(x * int(m[0]), 1 << int(right[0]))
    assert got == math.floor(product + Fraction(1, 2))
    # and of the real factor: half a unit of rounding, and what 31 bits of multiplier miss
    assert abs(got - x * Fraction(factor)) <= Fraction(1, 2) + abs(x * Fraction(factor)) / 2**31


@pytest.mark.parametrize("factor", [0.0, 1.0, -1.0, 0.5, 1 - 2**-40, 2.0**29, 2.0**-62, 1e-30])
def test_corners_of_multipliers(factor: float) -> None:
    (m,), (right,) = multipliers(np.array([factor]))
    assert abs(Fraction(int(m), 1 << int(right)) - Fraction(factor)) <= max(
        Fraction(abs(factor)) / 2**31, Fraction(1, 2**63)
    )


def test_a_factor_beyond_30_bits_has_no_multiplier() -> None:
    with pytest.raises(OverflowError, match=r"2\*\*30"):
        multipliers(np.array([1.0, 2.0**31]))


@given(st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=9), st.integers(-20, 20))
def test_a_common_shift_keeps_the_largest_factor_whole(factors: list[float], power: int) -> None:
    real = np.array(factors) * 2.0**power
    m, right = common_multiplier(real)
    assert np.abs(m).max() <= INT32_LIMIT
    error = [abs(Fraction(int(k), 1 << right) - Fraction(f)) for k, f in zip(m, real, strict=True)]
    # half a unit of the shared shift; the largest factor has its top bit at 2³⁰ or above
    assert max(error) <= Fraction(real.max()) / 2**31


@given(st.floats(-30000, 30000), st.integers(0, FRACTION_BITS))
def test_fixed_point_is_nearest(x: float, bits: int) -> None:
    error = abs(Fraction(int(fixed(np.array(x), bits))) - Fraction(x) * 2**bits)
    assert error <= Fraction(1, 2)


def test_halves_are_rounded_away_from_zero() -> None:
    x = np.array([-2.5, -0.5, 0.5, 1.5, 2.5, 0.49])
    np.testing.assert_array_equal(round_half_away(x), [-3, -1, 1, 2, 3, 0])


@given(st.floats(1e-9, 1e9))
def test_a_fraction_leaves_room_for_the_range(bound: float) -> None:
    bits = fraction_for(bound)
    assert bits <= FRACTION_BITS
    assert bound * 2.0**bits <= 2.0**POTENTIAL_BITS
    if bits < FRACTION_BITS:  # and not one bit more than needed is given up
        assert bound * 2.0 ** (bits + 1) > 2.0 ** (POTENTIAL_BITS - 1)


def test_no_fraction_holds_an_endless_range() -> None:
    assert fraction_for(0.0) == FRACTION_BITS
    assert fraction_for(math.inf) < 0


@pytest.mark.parametrize(("shape", "axis"), [((7, 5), 1), ((7, 5), -1), ((6, 4, 3), 0)])
def test_weights_are_within_half_a_unit(shape: tuple[int, ...], axis: int) -> None:
    w = np.random.default_rng(0).standard_normal(shape)
    w[(slice(None),) * (axis % w.ndim) + (2,)] = 0  # a channel without weights
    q = quantize_weights(w, axis)
    spread = np.moveaxis(np.expand_dims(q.scale, tuple(range(1, w.ndim))), 0, axis)
    assert q.values.dtype == np.int8
    assert np.abs(q.values.astype(int)).max() == 127
    assert np.abs(q.values * spread - w).max(initial=0) <= q.scale.max() / 2 * (1 + 1e-12)
    assert np.isfinite(q.scale).all()


def test_noise_in_decibels() -> None:
    signal = np.full(100, 10.0)
    assert sqnr_db(signal, signal + 1) == pytest.approx(20.0)
    assert math.isinf(sqnr_db(signal, signal))
