"""Real numbers as integers: multipliers with shifts, fixed point, and int8 weights.

Everything here is plain arithmetic on NumPy arrays, checked against exact rationals by the tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

WEIGHT_LIMIT = 127  # symmetric, so that −w is a weight whenever w is
INT32_LIMIT = 2**31 - 1
MULTIPLIER_BITS = 31
MAX_SHIFT = 62
FRACTION_BITS = 16  # of membrane potentials and residual sums, unless their range needs more
UNIT_BITS = 15  # of decays: 1.0 is 32768
POTENTIAL_BITS = 30  # differences of two potentials must fit in int32 as well


def round_half_away(x: np.ndarray) -> np.ndarray:
    """Nearest integers (float64), ties away from zero."""
    return np.sign(x) * np.floor(np.abs(x) + 0.5)


def multipliers(factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per element M int32 and R with ``M / 2**R ≈ factor``; relative error at most 2⁻³¹.

    ``|M|`` has 31 significant bits and 1 ≤ R ≤ 62. Factors below 2⁻³¹ lose bits: there R stays 62.
    Raises OverflowError for a factor of 2³⁰ or more.
    """
    mantissa, exponent = np.frexp(np.asarray(factor, np.float64))
    right = np.clip(MULTIPLIER_BITS - exponent, 1, MAX_SHIFT)
    whole = round_half_away(np.ldexp(mantissa, exponent + right))
    carried = np.abs(whole) > INT32_LIMIT  # 0.99999… rounded up to 2³¹
    whole, right = np.where(carried, whole / 2, whole), np.where(carried, right - 1, right)
    if (np.abs(whole) > INT32_LIMIT).any() or (right < 1).any():
        raise OverflowError(f"a factor of {np.abs(factor).max():g} has no multiplier below 2**30")
    right = np.where(whole == 0, 1, right)
    return whole.astype(np.int64), right.astype(np.int64)


def common_multiplier(factor: np.ndarray) -> tuple[np.ndarray, int]:
    """M per element and one R for all: the largest factor gets 31 bits, the others fewer."""
    factor = np.asarray(factor, np.float64)
    _, right = multipliers(np.abs(factor).max(keepdims=True).reshape(-1))
    shift = int(right[0])
    return round_half_away(np.ldexp(factor, shift)).astype(np.int64), shift


def fixed(x: np.ndarray, bits: int) -> np.ndarray:
    """Nearest multiples of 2**−bits as integers, ties away from zero."""
    return round_half_away(np.ldexp(np.asarray(x, np.float64), bits)).astype(np.int64)


def fraction_for(bound: float) -> int:
    """Fraction bits, 16 or fewer, that leave room for magnitudes up to ``bound``; may be < 0."""
    if bound <= 0:
        return FRACTION_BITS
    if not math.isfinite(bound):
        return -1
    return min(FRACTION_BITS, POTENTIAL_BITS - math.ceil(math.log2(bound)))


@dataclass(frozen=True)
class Weights:
    """int8 weights ``values`` and what one unit is worth, ``scale [O]``; ``sqnr_db`` of all."""

    values: np.ndarray
    scale: np.ndarray
    sqnr_db: float


def quantize_weights(w: np.ndarray, axis: int) -> Weights:
    """Symmetric int8 per channel of ``axis``: scale = largest magnitude / 127 (1 for zeros)."""
    w = np.asarray(w, np.float64)
    others = tuple(a for a in range(w.ndim) if a != axis % w.ndim)
    peak = np.abs(w).max(axis=others, initial=0.0)
    scale = np.where(peak > 0, peak / WEIGHT_LIMIT, 1.0)
    shape = [1] * w.ndim
    shape[axis] = -1
    spread = scale.reshape(shape)
    values = np.clip(round_half_away(w / spread), -WEIGHT_LIMIT, WEIGHT_LIMIT)
    return Weights(values.astype(np.int8), scale, sqnr_db(w, values * spread))


def sqnr_db(signal: np.ndarray, approximation: np.ndarray) -> float:
    """Signal over quantization noise in decibels; infinite without noise."""
    signal = np.asarray(signal, np.float64)
    noise = float(np.square(signal - approximation).sum())
    power = float(np.square(signal).sum())
    return math.inf if noise == 0 else 10 * math.log10(max(power, 1e-300) / noise)
