"""Several rows of lanes folded at once, each to one value.

Every step puts the lower halves of two vectors side by side, their upper halves likewise, and joins
the two: half of the lanes of a row are gone, and a vector holds twice as many rows. For sixteen
lanes and eight rows that is 8 operations and 15 shuffles, where one row after the other takes 32 of
each. Lane i meets lane i + half as in `simd.Accumulators.across`, so results have the same bits.
And they lie in few vectors: what is kept for later takes one register, not one for every row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd

Vector = Any


@dataclass(frozen=True)
class Folded:
    """One value per row, ``lanes`` of them in each of ``vectors`` (buffers)."""

    vectors: list[Any]
    lanes: int

    def splat(self, row: int, lanes: int) -> Vector:
        """The value of ``row`` in every lane."""
        values = simd.load(self.vectors[row // self.lanes], [], 0, self.lanes)
        return simd.splat(simd.lane(values, row % self.lanes, self.lanes), lanes)

    def map(self, function: Callable[[Vector, int], Vector]) -> Folded:
        """``function(vector, lanes)`` of all values."""
        new = [_kept(function(_value(v), self.lanes), self.lanes) for v in self.vectors]
        return Folded(new, self.lanes)

    def store(self, target: Any, index: Sequence[Any]) -> None:
        """Store the values of all rows side by side at ``target[*index]``."""
        for number, vector in enumerate(self.vectors):
            simd.save(target, index, number * self.lanes, self.lanes, _value(vector))


def fold_rows(acc: simd.Accumulators, op: Callable[[Vector, Vector], Vector]) -> Folded:
    """``op`` over all lanes of every row of ``acc``, whose rows are one whole vector."""
    lanes = acc.lanes
    (vector,) = acc.vectors
    assert vector[1] == lanes
    rows = [_kept(acc.get(row, vector), lanes) for row in range(acc.rows)]
    width = lanes  # of what is left of a row
    while width > 1:
        width //= 2
        pairs = [tuple(rows[i : i + 2]) for i in range(0, len(rows), 2)]
        if len(rows) == 1:
            lanes //= 2
        elif len(rows) % 2:
            pairs[-1] = (rows[-1], rows[-1])
        rows = [_joined(pair, lanes, width, op) for pair in pairs]
    return Folded(rows, lanes)


def _joined(
    pair: Sequence[Any], lanes: int, width: int, op: Callable[[Vector, Vector], Vector]
) -> Any:
    """A buffer of ``lanes`` values, ``width`` for every row in ``pair``."""
    values = [_value(buffer) for buffer in pair]
    starts = range(0, 2 * lanes, 2 * width)
    halves = [
        T.Shuffle(values, [start + half + i for start in starts for i in range(width)])
        for half in (0, width)
    ]
    return _kept(op(*halves), lanes)


def _kept(value: Vector, lanes: int) -> Any:
    """A buffer with ``value``: an expression used twice would be computed twice."""
    buffer = T.alloc_buffer((lanes,), "float32")
    simd.save(buffer, [], 0, lanes, value)
    return buffer


def _value(buffer: Any) -> Vector:
    return simd.load(buffer, [], 0, int(buffer.shape[0]))
