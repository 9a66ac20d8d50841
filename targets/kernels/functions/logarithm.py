"""Logarithms: exponent and mantissa apart, a polynomial for the mantissa."""

from __future__ import annotations

import math
from collections.abc import Callable

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd
from millijoule.targets.kernels.functions.bits import (
    Vector,
    as_float,
    as_int,
    integer,
    let,
    number,
    polynomial,
)
from millijoule.targets.kernels.functions.exponential import LN2_HIGH, LN2_LOW

# log(1 + f) = f − f²/2 + f³·P(f) for √½ ≤ 1 + f < √2; the fit errs by 5.9e-9, relative
LOG = (
    0.3333333171,
    -0.2500082106,
    0.2000122667,
    -0.1662335648,
    0.1420176247,
    -0.1316019507,
    0.1276155034,
    -0.0763442984,
)
_SQRT_HALF_BITS = 0x3F3504F3  # 0.70710677
_MANTISSA = 0x007FFFFF
_SMALLEST_NORMAL = 2.0**-126


def log(x: Vector, lanes: int) -> Vector:
    """Natural logarithm within 2 ulp; of subnormals too. log 0 = −∞, log of less is NaN."""

    def finish(e: Vector, f: Vector) -> Vector:
        low = e * number(LN2_LOW, lanes) + _log1p_rest(f, lanes)
        return (low + f) + e * number(LN2_HIGH, lanes)

    return _logarithm(x, lanes, finish)


def log2(x: Vector, lanes: int) -> Vector:
    """Binary logarithm within 2 ulp, exact for powers of two."""

    def finish(e: Vector, f: Vector) -> Vector:
        return (f + _log1p_rest(f, lanes)) * number(1 / math.log(2), lanes) + e

    return _logarithm(x, lanes, finish)


def log10(x: Vector, lanes: int) -> Vector:
    """Decimal logarithm within 3 ulp."""
    return log(x, lanes) * number(1 / math.log(10), lanes)


def _log1p_rest(f: Vector, lanes: int) -> Vector:
    """log(1 + f) − f."""
    square = f * f
    return let(
        square,
        lambda s: polynomial(LOG, f, lanes) * f * s - number(0.5, lanes) * s,
        "square",
    )


def _logarithm(x: Vector, lanes: int, finish: Callable[[Vector, Vector], Vector]) -> Vector:
    """``finish(e, f)`` for x = 2ᵉ·(1 + f), and the special values."""
    zero = number(0, lanes)

    def of_normal(v: Vector, tiny: Vector) -> Vector:
        def split(bits: Vector) -> Vector:
            exponent = T.shift_right(bits, integer(23, lanes))
            mantissa = T.bitwise_and(bits, integer(_MANTISSA, lanes)) + integer(
                _SQRT_HALF_BITS, lanes
            )
            shift = T.Select(tiny, number(-23, lanes), zero)
            e = simd.convert(exponent, "float32", lanes) + shift
            f = as_float(mantissa, lanes) - number(1, lanes)
            return let(e, lambda e: let(f, lambda f: finish(e, f), "f"), "e")

        return let(as_int(v, lanes) - integer(_SQRT_HALF_BITS, lanes), split, "bits")

    def special(v: Vector) -> Vector:
        tiny = v < number(_SMALLEST_NORMAL, lanes)
        scaled = T.Select(tiny, v * number(2.0**23, lanes), v)
        value = let(scaled, lambda s: of_normal(s, tiny), "scaled")
        value = T.Select(v < number(math.inf, lanes), value, v)  # +∞ and NaN are their own
        value = T.Select(v < zero, number(math.nan, lanes), value)
        return T.Select(v == zero, number(-math.inf, lanes), value)

    return let(x, special, "x")
