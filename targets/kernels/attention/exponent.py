"""eˣ for x ≤ 0 as a softmax needs it, in 13 instructions with fused multiply-adds.

x = (n·ln 2 + r), |r| ≤ ln2/2, and 2ⁿ comes straight from the bits of a sum: adding 1.5·2²³ + 127
leaves n + 127 in the low bits, and a shift by 23 makes an exponent of it. Below 2⁻¹²⁶ that exponent
is 0, and so is the result; `functions.exp` has subnormal results and takes twice as long.
"""

from __future__ import annotations

import math

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd
from millijoule.targets.kernels.functions.bits import Vector, as_float, as_int, let, number
from millijoule.targets.kernels.functions.exponential import EXP, LN2_HIGH, LN2_LOW
from millijoule.targets.target import Isa

_MAGIC = 12582912.0 + 127  # 1.5·2²³ and the bias of exponents
_LOW = -127 * math.log(2)  # here the exponent is 0


def exp_of_negative(x: Vector, lanes: int, isa: Isa) -> Vector:
    """eˣ for x ≤ 0 within 2 ulp, 0 below 2⁻¹²⁶ (−∞ included); NaN stays NaN."""

    def fma(a: Vector, b: float, c: Vector) -> Vector:
        return simd.fma(a, number(b, lanes), c, lanes, isa)

    def of_rest(r: Vector, shifted: Vector) -> Vector:
        value = number(EXP[-1], lanes)
        for coefficient in EXP[-2::-1]:
            value = simd.fma(value, r, number(coefficient, lanes), lanes, isa)
        power = T.shift_left(as_int(shifted, lanes), simd.splat(T.int32(23), lanes))
        return value * as_float(power, lanes)

    def of_clamped(v: Vector) -> Vector:
        return let(
            fma(v, math.log2(math.e), number(_MAGIC, lanes)),
            lambda shifted: let(
                shifted - number(_MAGIC, lanes),
                lambda n: let(
                    fma(n, -LN2_LOW, fma(n, -LN2_HIGH, v)), lambda r: of_rest(r, shifted), "r"
                ),
                "n",
            ),
            "shifted",
        )

    return let(T.max(number(_LOW, lanes), x), of_clamped, "x")
