"""Elementwise work fused behind a kernel's accumulators, as vectors of float32.

One table maps Relax operators to vector expressions. Approximations state their error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd

Vector = Any

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


def _polynomial(coefficients: Sequence[float], x: Vector, lanes: int) -> Vector:
    """Horner's rule, lowest power first in ``coefficients``."""
    value = simd.splat(T.float32(coefficients[-1]), lanes)
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + simd.splat(T.float32(coefficient), lanes)
    return value


def erf(x: Vector, lanes: int) -> Vector:
    """Error function."""
    limit = simd.splat(T.float32(ERF_LIMIT), lanes)
    low, one = simd.splat(T.float32(-ERF_LIMIT), lanes), simd.splat(T.float32(1), lanes)
    x = T.max(T.min(x, limit), low)
    square = x * x
    value = x * _polynomial(ERF_P, square, lanes) / _polynomial(ERF_Q, square, lanes)
    return T.max(T.min(value, one), simd.splat(T.float32(-1), lanes))


def gelu(x: Vector, lanes: int) -> Vector:
    """Exact GELU, x·Φ(x), through `erf`."""
    half, scale = (simd.splat(T.float32(v), lanes) for v in (0.5, 0.5**0.5))
    return x * half * (erf(x * scale, lanes) + simd.splat(T.float32(1), lanes))


def relu(x: Vector, lanes: int) -> Vector:
    """max(x, 0)."""
    return T.max(x, simd.zeros(lanes))


ASTYPE = "relax.astype"
UNARY: dict[str, Callable[[Vector, int], Vector]] = {
    "relax.erf": erf,
    "relax.nn.gelu": gelu,
    "relax.nn.relu": relu,
}
BINARY: dict[str, Callable[[Vector, Vector], Vector]] = {
    "relax.add": lambda a, b: a + b,
    "relax.subtract": lambda a, b: a - b,
    "relax.multiply": lambda a, b: a * b,
    "relax.divide": lambda a, b: a / b,
    "relax.maximum": T.max,
    "relax.minimum": T.min,
}


@dataclass(frozen=True)
class Step:
    """One fused operator. ``operand``: index of the other operand, None for a unary one.

    ``swapped``: the accumulator is the right-hand side. ``spread`` says how the operand maps onto
    the output: "scalar", "column" (one value per output column) or "full" (same shape). ``dtype``:
    of the result of ``relax.astype``.
    """

    op: str
    operand: int | None = None
    spread: str = "full"
    swapped: bool = False
    dtype: str = ""


def apply(
    steps: Sequence[Step],
    value: Vector,
    lanes: int,
    operand: Callable[[Step], Vector],
) -> Vector:
    """Run ``steps`` on one vector; ``operand(step)`` loads the matching lanes of its operand."""
    for step in steps:
        if step.op == ASTYPE:
            value = simd.convert(value, step.dtype, lanes)
        elif step.operand is None:
            value = UNARY[step.op](value, lanes)
        else:
            other = operand(step)
            value = BINARY[step.op](*((other, value) if step.swapped else (value, other)))
    return value
