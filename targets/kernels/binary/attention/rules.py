"""The rules by which scores of one query become bits of the map.

All work on rows of scratch memory that are padded to whole vectors: ``mask`` is 0 or the operand
where there is a key, and very negative behind the last one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.converters.ops.binary_attention import int_threshold
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.binary.words import BITS, lanes_of_word
from millijoule.targets.kernels.functions import exp

NEVER = -1.0e30  # a score that no key has


@dataclass
class Row:
    """One query's scores: ``sums`` int32, ``scores`` float32 [chunks, padded], row ``chunk``."""

    sums: Any
    scores: Any
    mask: Any
    chunk: Any
    steps: int
    padded: int
    lanes: int

    def load(self, buffer: Any, j: Any) -> Any:
        """Lanes from key ``j``."""
        return simd.load(buffer, [self.chunk], j, self.lanes)

    def each(self, body: Callable[[Any], None]) -> None:
        """``body(j)`` for every vector of keys."""
        with T.serial(0, self.padded // self.lanes) as i:
            body(i * self.lanes)

    def fold(self, dtype: str, start: Any, step: Callable[[Any, Any], Any], last: str) -> Any:
        """Fold vectors of keys with ``step(total, j)``, then lanes by the reduction ``last``."""
        lanes = self.lanes
        total, result = T.alloc_buffer((lanes,), dtype), T.alloc_buffer((1,), dtype)
        at = simd.lanes_at(0, lanes)
        T.buffer_store(total, simd.splat(start, lanes), [at])
        self.each(lambda j: T.buffer_store(total, step(total[at], j), [at]))
        tir.store(result, [0], _reduce(total, lanes, last))
        return result[0]


_REDUCTIONS: dict[str, Callable[[Any, Any], Any]] = {"max": T.max, "add": lambda a, b: a + b}


def _reduce(buffer: Any, lanes: int, last: str) -> Any:
    """All lanes in a fixed order: halves, quarters, …"""
    values = [buffer[i] for i in range(lanes)]
    while len(values) > 1:
        half = len(values) // 2
        pairs = zip(values[:half], values[half:], strict=True)
        values = [_REDUCTIONS[last](a, b) for a, b in pairs]
    return values[0]


class BoolRule:
    """s/√d + mask > 0."""

    def __init__(self, row: Row, head_size: int) -> None:
        self._row, self._root = row, math.sqrt(head_size)

    def prepare(self, query: Any) -> None:
        """Nothing depends on the whole row."""

    def decide(self, j: Any, lanes: int) -> Any:
        """Whether keys from ``j`` on are attended to, as booleans."""
        row = self._row
        score = simd.convert(row.load(row.sums, j), "float32", lanes)
        root = simd.splat(T.float32(self._root), lanes)
        return score / root + row.load(row.mask, j) > simd.zeros(lanes)


class ThresholdRule:
    """max s − s ≤ ⌊ln 4 · √d⌋."""

    def __init__(self, row: Row, head_size: int) -> None:
        self._row, self._below = row, int_threshold(head_size)
        self._least = T.alloc_buffer((1,), "int32")

    def prepare(self, query: Any) -> None:
        """The least sum that counts; there are none behind the last key."""
        row, lanes = self._row, self._row.lanes
        none = T.int32(-(1 << 30))

        def larger(total: Any, j: Any) -> Any:
            valid = row.load(row.mask, j) > simd.splat(T.float32(NEVER / 2), lanes)
            return T.max(total, T.Select(valid, row.load(row.sums, j), simd.splat(none, lanes)))

        largest = row.fold("int32", none, larger, "max")
        tir.store(self._least, [0], largest - self._below)

    def decide(self, j: Any, lanes: int) -> Any:
        """As `BoolRule.decide`."""
        return self._row.load(self._row.sums, j) >= simd.splat(self._least[0], lanes)


class SoftmaxRule:
    """softmax((α_qk·s + L)/√d + mask)/α_attn > ½, with L of rank three out of ``low``."""

    def __init__(self, row: Row, head_size: int, low: Any, turned: Any, scales: Any) -> None:
        self._row, self._root = row, math.sqrt(head_size)
        self._low, self._turned, self._scales = low, turned, scales
        self._total = T.alloc_buffer((1,), "float32")

    def prepare(self, query: Any) -> None:
        """Exponentials of the row and their sum."""
        row, lanes = self._row, self._row.lanes
        b, i = query
        q_m, q_p = (simd.splat(self._low[b, i, c], lanes) for c in (0, 1))
        root = simd.splat(T.float32(self._root), lanes)
        alpha = simd.splat(self._scales[0], lanes)

        def score(j: Any) -> None:
            k_m, k_p = (simd.load(self._turned, [row.chunk, c], j, lanes) for c in (0, 1))
            rank_one = q_m * k_p + q_p * k_m + q_p * k_p
            value = alpha * simd.convert(row.load(row.sums, j), "float32", lanes) + rank_one
            value = value / root + row.load(row.mask, j)
            simd.save(row.scores, [row.chunk], j, lanes, value)

        row.each(score)
        largest = row.fold(
            "float32",
            T.float32(-3.4e38),
            lambda total, j: T.max(total, row.load(row.scores, j)),
            "max",
        )

        def exponential(total: Any, j: Any) -> Any:
            value = exp(row.load(row.scores, j) - simd.splat(largest, lanes), lanes)
            simd.save(row.scores, [row.chunk], j, lanes, value)
            return total + row.load(row.scores, j)

        total = row.fold("float32", T.float32(0), exponential, "add")
        tir.store(self._total, [0], total)

    def decide(self, j: Any, lanes: int) -> Any:
        """As `BoolRule.decide`."""
        share = self._row.load(self._row.scores, j) / simd.splat(self._total[0], lanes)
        return share / simd.splat(self._scales[1], lanes) > simd.splat(T.float32(0.5), lanes)

    def estimate(self, words: Any) -> Any:
        """Σ_j A_j·v_p,j, the same for every dimension, with the map's words [chunks, …]."""
        row, lanes = self._row, self._row.lanes

        def add(total: Any, j: Any) -> Any:
            value = simd.load(self._turned, [row.chunk, 2], j, lanes)
            return total + T.Select(
                lanes_of_word(words[row.chunk, j // BITS], j % BITS, lanes),
                value,
                simd.zeros(lanes),
            )

        return row.fold("float32", T.float32(0), add, "add")
