"""Elementwise work fused behind a kernel's accumulators, as vectors of float32.

`functions.OPERATORS` has the operators of one operand, `BINARY` those of two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import functions, simd
from millijoule.targets.kernels.functions import Vector

ASTYPE = "relax.astype"
CLIP = "relax.clip"
OWN = "own"  # a spread: the operand is an earlier value of the same chain
UNARY = functions.OPERATORS
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
    the output: "scalar", "column" (one value per output column), "full" (same shape), or "own": the
    result of step ``operand`` − 1, where 0 is the accumulator itself. ``dtype``: of the result of
    ``relax.astype``. ``limits``: of ``relax.clip``; infinities are no limits.
    """

    op: str
    operand: int | None = None
    spread: str = "full"
    swapped: bool = False
    dtype: str = ""
    limits: tuple[float, float] = (-math.inf, math.inf)


def apply(
    steps: Sequence[Step],
    value: Vector,
    lanes: int,
    operand: Callable[[Step], Vector],
) -> Vector:
    """Run ``steps`` on one vector; ``operand(step)`` loads the matching lanes of its operand."""
    values = [value]
    for step in steps:
        if step.op == ASTYPE:
            value = simd.convert(value, step.dtype, lanes)
        elif step.op == CLIP:
            value = clip(value, lanes, step.limits)
        elif step.operand is None:
            value = UNARY[step.op](value, lanes)
        else:
            other = values[step.operand] if step.spread == OWN else operand(step)
            value = BINARY[step.op](*((other, value) if step.swapped else (value, other)))
        values.append(value)
    return value


def clip(x: Vector, lanes: int, limits: tuple[float, float]) -> Vector:
    """min(max(x, low), high)."""
    low, high = limits
    if low > -math.inf:
        x = T.max(x, simd.splat(T.float32(low), lanes))
    return T.min(x, simd.splat(T.float32(high), lanes)) if high < math.inf else x
