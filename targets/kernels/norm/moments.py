"""Mean and deviation of a row of values.

Sums are four vectors of partial ones, folded from the halves down, so that a row gives the same
bits wherever it stands. The variance is the mean of squares around the mean: subtracting the mean's
square from the mean of squares would lose the digits that a mean far from zero takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.targets.kernels import simd
from millijoule.targets.target import Isa

_CHAINS = 4
# Per element, for the choice whether threads pay: three passes, and a wait for memory
OPERATIONS = 16
# (first column, lanes) → that many elements of a row
Element = Callable[[Any, int], Any]


def mean_of(width: int, element: Element, isa: Isa) -> Any:
    """A buffer of one value: the mean of ``width`` elements."""
    lanes = isa.lanes
    chains = max(1, min(_CHAINS, width // lanes))
    sums = simd.Accumulators(1, chains * lanes, lanes)
    sums.fill(lambda _, vec: simd.zeros(vec[1]))

    def add(at: Any, count: int) -> None:
        for offset, size in simd.vectors(count, lanes):
            value = sums.part(0, offset, size) + element(at + offset, size)
            sums.set_part(0, offset, size, value)

    simd.for_blocks(width, chains * lanes, add)
    total = sums.across(0, lambda a, b: a + b)
    mean = T.alloc_buffer((1,), "float32")
    tir.store(mean, [0], total[0] * T.float32(1.0 / width))
    return mean


def factor_of(width: int, away: Element, epsilon: float, isa: Isa) -> Any:
    """A buffer of one value: 1/√(variance + ε), ``away`` being differences from the mean."""

    def square(at: Any, lanes: int) -> Any:
        value = variable(away(at, lanes), lanes)
        return value * value

    variance = mean_of(width, square, isa)
    factor = T.alloc_buffer((1,), "float32")
    tir.store(factor, [0], T.float32(1) / T.sqrt(variance[0] + T.float32(epsilon)))
    return factor


def variable(value: Any, lanes: int) -> Any:
    """``value``, computed once however often it is used."""
    kept = T.alloc_buffer((lanes,), "float32")
    simd.save(kept, [], 0, lanes, value)
    return simd.load(kept, [], 0, lanes)
