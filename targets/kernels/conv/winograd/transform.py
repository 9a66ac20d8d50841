"""Bᵀ d B and Aᵀ m A on vectors of channels, out of additions and multiply-adds in registers.

Points come in pairs ±p, whose rows of Bᵀ and columns of Aᵀ differ in the sign of their odd terms:
even and odd part are computed once for both. Per 6×6 tile and vector of channels 12·12 operations
in front of the products and 10·13 behind; per 4×4 tile 8·4 and 6·4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd
from millijoule.targets.kernels.conv.winograd.points import A, B
from millijoule.targets.kernels.functions import Vector
from millijoule.targets.target import Isa

Line = Sequence[Vector | None]  # None: zeros
Transform = Callable[["Sums", Line], list[Vector | None]]


class Sums:
    """Sums of vectors of ``lanes``, each kept in a register of its own."""

    def __init__(self, lanes: int, isa: Isa) -> None:
        self.lanes, self._isa = lanes, isa

    def keep(self, value: Vector) -> Vector:
        """``value``, computed here once."""
        register = T.alloc_buffer((self.lanes,), "float32")
        simd.save(register, [], 0, self.lanes, value)
        return simd.load(register, [], 0, self.lanes)

    def of(self, *terms: tuple[float, Vector | None]) -> Vector | None:
        """Σ factor·value from left to right; factors of ±1 are not multiplied with."""
        total: Vector | None = None
        for factor, value in terms:
            if value is None:
                continue
            scale = simd.splat(T.float32(factor), self.lanes)
            if total is None:
                total = value if factor == 1 else scale * value
            elif factor == 1:
                total = total + value
            elif factor == -1:
                total = total - value
            else:
                total = simd.fma(scale, value, total, self.lanes, self._isa)
        return None if total is None else self.keep(total)


def _inputs_of_2(sums: Sums, d: Line) -> list[Vector | None]:
    return [
        sums.of((1, d[2]), (-1, d[0])),
        sums.of((1, d[2]), (1, d[1])),
        sums.of((1, d[2]), (-1, d[1])),
        sums.of((1, d[3]), (-1, d[1])),
    ]


def _results_of_2(sums: Sums, m: Line) -> list[Vector | None]:
    return [
        sums.of((1, m[0]), (1, m[1]), (1, m[2])),
        sums.of((1, m[3]), (1, m[1]), (-1, m[2])),
    ]


def _inputs_of_4(sums: Sums, d: Line) -> list[Vector | None]:
    middle = A * A + B * B
    even_a, odd_a = sums.of((1, d[4]), (-B * B, d[2])), sums.of((1, d[3]), (-B * B, d[1]))
    even_b, odd_b = sums.of((1, d[4]), (-A * A, d[2])), sums.of((1, d[3]), (-A * A, d[1]))
    return [
        sums.of((1, d[0]), (1, d[4]), (-middle, d[2])),
        sums.of((1, even_a), (A, odd_a)),
        sums.of((1, even_a), (-A, odd_a)),
        sums.of((1, even_b), (B, odd_b)),
        sums.of((1, even_b), (-B, odd_b)),
        sums.of((1, d[1]), (1, d[5]), (-middle, d[3])),
    ]


def _results_of_4(sums: Sums, m: Line) -> list[Vector | None]:
    sum_a, odd_a = sums.of((1, m[1]), (1, m[2])), sums.of((1, m[1]), (-1, m[2]))
    sum_b, odd_b = sums.of((1, m[3]), (1, m[4])), sums.of((1, m[3]), (-1, m[4]))
    return [
        sums.of((1, m[0]), (1, sum_a), (1, sum_b)),
        sums.of((A, odd_a), (B, odd_b)),
        sums.of((A * A, sum_a), (B * B, sum_b)),
        sums.of((1, m[5]), (A**3, odd_a), (B**3, odd_b)),
    ]


INPUTS: dict[int, Transform] = {2: _inputs_of_2, 4: _inputs_of_4}
RESULTS: dict[int, Transform] = {2: _results_of_2, 4: _results_of_4}


def both_ways(transform: Transform, sums: Sums, tile: Sequence[Line]) -> list[list[Vector | None]]:
    """``transform`` of every row of ``tile``, then of every column; result[row][column]."""
    rows = [transform(sums, row) for row in tile]
    columns = [transform(sums, column) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]
