"""Sine and cosine, reduced by multiples of π/2 in float64."""

from __future__ import annotations

import math

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd
from millijoule.targets.kernels.functions.bits import Vector, integer, let, number, polynomial

# sin(r) = r + r³·P(r²), cos(r) = 1 − r²/2 + r⁴·Q(r²) on |r| ≤ π/4; they err by 3.7e-9 and 1e-10
SIN = (-0.1666665487, 0.0083321735, -0.00019516655)
COS = (1.0, -0.5, 0.0416666467, -0.00138873614, 2.4437728e-05)
_MAGIC = 6755399441055744.0  # 1.5·2⁵²
# π/2 in two parts; the first has 25 bits, so that n·HIGH is exact up to n = 2²⁸
HIGH = float.fromhex("0x1.921fb50000000p+0")
LOW = math.pi / 2 - HIGH + 6.123233995736766e-17


def sin(x: Vector, lanes: int) -> Vector:
    """Sine within 2 ulp for |x| ≤ 2²⁸; NaN at ±∞."""
    return _reduced(x, lanes, 0)


def cos(x: Vector, lanes: int) -> Vector:
    """Cosine within 2 ulp for |x| ≤ 2²⁸; NaN at ±∞."""
    return _reduced(x, lanes, 1)


def _reduced(x: Vector, lanes: int, quarter: int) -> Vector:
    """sin(x + quarter·π/2)."""

    def double(value: float) -> Vector:
        return simd.splat(T.float64(value), lanes)

    def with_rest(r: Vector, n: Vector) -> Vector:
        square = r * r
        sine = let(square, lambda s: r + r * s * polynomial(SIN, s, lanes), "s")
        cosine = let(square, lambda s: polynomial(COS, s, lanes), "s")
        odd = T.bitwise_and(n, integer(1, lanes)) != integer(0, lanes)
        negative = T.bitwise_and(n, integer(2, lanes)) != integer(0, lanes)
        value = T.Select(odd, cosine, sine)
        return let(value, lambda v: T.Select(negative, number(0, lanes) - v, v), "v")

    def split(wide: Vector, shifted: Vector) -> Vector:
        n = shifted - double(_MAGIC)
        rest = let(n, lambda n: (wide - n * double(HIGH)) - n * double(LOW), "n")
        bits = T.reinterpret(simd.vector_type("int64", lanes), shifted)
        quadrant = simd.convert(bits, "int32", lanes) + integer(quarter, lanes)
        single = simd.convert(rest, "float32", lanes)
        return let(single, lambda r: let(quadrant, lambda q: with_rest(r, q), "q"), "r")

    def start(wide: Vector) -> Vector:
        shifted = wide * double(2 / math.pi) + double(_MAGIC)
        return let(shifted, lambda s: split(wide, s), "shifted")

    return let(simd.convert(x, "float64", lanes), start, "wide")
