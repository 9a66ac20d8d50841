"""The error function as one rational function."""

from __future__ import annotations

from millijoule.targets.kernels.functions.bits import Vector, clamp, let, polynomial

# erf(x) = x·P(x²)/Q(x²) on |x| ≤ ERF_LIMIT and ±1 beyond: a rational minimax fit of degree 5/5
# (Sanathanan-Koerner iterations with Lawson weights in float64). The fit errs by 1.7e-8; in float32
# arithmetic the error is below 4e-7, and the result is odd and never exceeds 1.
ERF_LIMIT = 3.925
ERF_P = (
    1.128378987312317,
    0.1929723173379898,
    0.05308431386947632,
    0.003876315662637353,
    0.000287491682684049,
    2.030867335633957e-06,
)
ERF_Q = (
    1.0,
    0.504348874092102,
    0.11516735702753067,
    0.01518833264708519,
    0.0011897468939423561,
    3.803140134550631e-05,
)


def erf(x: Vector, lanes: int) -> Vector:
    """Error function within 4e-7 (7 ulp); ±1 at ±∞."""

    def rational(v: Vector) -> Vector:
        def fraction(square: Vector) -> Vector:
            return v * polynomial(ERF_P, square, lanes) / polynomial(ERF_Q, square, lanes)

        return clamp(let(v * v, fraction, "square"), -1, 1, lanes)

    return let(clamp(x, -ERF_LIMIT, ERF_LIMIT, lanes), rational)
