"""exp and what follows from it: exp2, sigmoid, tanh, softplus."""

from __future__ import annotations

import math

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels.functions.bits import (
    MAGIC,
    MAGIC_BITS,
    Vector,
    as_float,
    as_int,
    at_least,
    clamp,
    integer,
    let,
    number,
    polynomial,
)

# exp(r) = 1 + r + r²·P(r) on |r| ≤ ln2/2: a minimax fit that errs by 3.1e-9, relative
EXP = (1.0, 1.0, 0.4999999341, 0.1666652011, 0.0416683943, 0.0083687806, 0.0013814465)
# ln2 in two parts: the first has 15 bits, so that n·LN2_HIGH is exact for every n that occurs
LN2_HIGH, LN2_LOW = 0.693145751953125, 1.4286068203094173e-06
EXP_LOW, EXP_HIGH = -104.0, 89.0  # below, exp is 0 in float32; above, infinite

# tanh(x) = x·P(x²)/Q(x²) on |x| ≤ TANH_LIMIT and ±1 beyond; the fit errs by 1.3e-9, relative
TANH_LIMIT = 9.02
TANH_P = (1.0, 0.1367991598, 0.0038683289, 2.80074815e-05, 3.05850747e-08, -1.22035021e-11)
TANH_Q = (1.0, 0.4701324804, 0.027245843, 0.000393863311, 1.287368155e-06)

# log1p(u) = u·P(u)/Q(u) on 0 ≤ u ≤ 1; the fit errs by 9.4e-10, relative
LOG1P_P = (1.0, 1.0662179270, 0.2381572203, 0.003417273016)
LOG1P_Q = (1.0, 1.5662177964, 0.6879357120, 0.0752871673)


def exp(x: Vector, lanes: int) -> Vector:
    """eˣ within 2 ulp, subnormal results and infinity included."""
    return let(clamp(x, EXP_LOW, EXP_HIGH, lanes), lambda v: _exp(v, lanes))


def _exp(x: Vector, lanes: int) -> Vector:
    def reduced(shifted: Vector) -> Vector:
        n = shifted - number(MAGIC, lanes)
        high, low = number(LN2_HIGH, lanes), number(LN2_LOW, lanes)
        r = let(n, lambda n: (x - n * high) - n * low, "n")
        return _times_power(let(r, lambda r: polynomial(EXP, r, lanes), "r"), shifted, lanes)

    return let(x * number(math.log2(math.e), lanes) + number(MAGIC, lanes), reduced, "shifted")


def _times_power(value: Vector, shifted: Vector, lanes: int) -> Vector:
    """``value``·2ⁿ, n in the low bits of ``shifted``; in two steps, for n from −150 to 128."""

    def scaled(n: Vector) -> Vector:
        half = T.shift_right(n, integer(1, lanes))
        return let(
            half, lambda half: value * _power(half, lanes) * _power(n - half, lanes), "halved"
        )

    return let(as_int(shifted, lanes) - integer(MAGIC_BITS, lanes), scaled, "n")


def _power(n: Vector, lanes: int) -> Vector:
    """2ⁿ for n from −126 to 127."""
    return as_float(T.shift_left(n + integer(127, lanes), integer(23, lanes)), lanes)


def exp2(x: Vector, lanes: int) -> Vector:
    """2ˣ within 2 ulp."""

    def reduced(v: Vector) -> Vector:
        def split(shifted: Vector) -> Vector:
            r = (v - (shifted - number(MAGIC, lanes))) * number(math.log(2), lanes)
            return _times_power(let(r, lambda r: polynomial(EXP, r, lanes), "r"), shifted, lanes)

        return let(v + number(MAGIC, lanes), split, "shifted")

    return let(clamp(x, -151.0, 129.0, lanes), reduced)


def sigmoid(x: Vector, lanes: int) -> Vector:
    """1/(1 + e⁻ˣ) within 4 ulp; 0 where the result would be subnormal (x < −88.7)."""
    one = number(1, lanes)
    return one / (one + exp(number(0, lanes) - x, lanes))


def tanh(x: Vector, lanes: int) -> Vector:
    """Hyperbolic tangent within 5 ulp, odd, never beyond ±1."""

    def rational(v: Vector) -> Vector:
        def fraction(square: Vector) -> Vector:
            return v * polynomial(TANH_P, square, lanes) / polynomial(TANH_Q, square, lanes)

        return clamp(let(v * v, fraction, "square"), -1, 1, lanes)

    return let(clamp(x, -TANH_LIMIT, TANH_LIMIT, lanes), rational)


def softplus(x: Vector, lanes: int) -> Vector:
    """log(1 + eˣ) = max(x, 0) + log1p(e^−|x|) within 4 ulp."""

    def both(v: Vector) -> Vector:
        minus = number(0, lanes) - v
        decayed = exp(T.min(v, minus), lanes)
        return at_least(0, v, lanes) + let(decayed, lambda u: _log1p(u, lanes), "u")

    return let(x, both)


def _log1p(u: Vector, lanes: int) -> Vector:
    """log(1 + u) for 0 ≤ u ≤ 1."""
    return u * polynomial(LOG1P_P, u, lanes) / polynomial(LOG1P_Q, u, lanes)
