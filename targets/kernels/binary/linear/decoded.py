"""Real activations × signs where registers look nothing up: signs become floats, once for all rows.

For a block of outputs the weights are written out as ±1 and 0 into scratch memory that a near
cache holds, and then multiplied like any others; what is read from further away is bits.
Floor: that of the float product; writing out costs five instructions per vector of weights, shared
by all rows, so that it pays from four rows on.

Every result is one chain of multiply-adds by ±1 in ascending k: the bits of `real`'s additions.
"""

from __future__ import annotations

from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.binary.linear.bits import Finish
from millijoule.targets.kernels.binary.linear.tables import GROUP
from millijoule.targets.kernels.binary.words import BITS, TOP, word, words_of
from millijoule.targets.target import Isa

FEWEST_ROWS = 4
_ONE = 0x3F800000  # 1.0, less its sign


def decodes(rows: int, ternary: bool, isa: Isa) -> bool:
    """Whether this form is the better one. With zeros it always is: a sum needs no second plane."""
    return isa.lanes == 4 and (rows >= FEWEST_ROWS or ternary)


def decoded_type(chunks: int, inputs: int, columns: int) -> TensorType:
    """Scratch memory: the weights of a block of outputs."""
    return TensorType((chunks, inputs, columns), "float32")


def tile_rows(isa: Isa) -> int:
    """Rows of a tile beside four vectors of outputs (two on eight registers)."""
    return 6 if isa.registers >= 32 else 2


class DecodedGemm:
    """The loops of one product; ``x(row, k, lanes)`` loads inputs, ``w`` holds packed weights."""

    def __init__(self, x: Any, w: Any, decoded: Any, inputs: int, rows: int, isa: Isa) -> None:
        self._x, self._w, self._decoded, self._isa = x, w, decoded, isa
        self._inputs, self._rows = inputs, rows
        self._columns = int(w.shape[2])
        self._planes = int(w.shape[1]) // words_of(inputs)

    def block(self, chunk: Any, block: Any, width: int, finish: Finish) -> None:
        """All rows against ``width`` outputs of ``block``."""
        simd.for_blocks(self._inputs, BITS, lambda k, size: self._decode(chunk, block, k, size))

        def rows(first: Any, count: int) -> None:
            self._tile(chunk, block * self._columns, first, count, width, finish)

        simd.for_blocks(self._rows, tile_rows(self._isa), rows)

    def _decode(self, chunk: Any, block: Any, k: Any, size: int) -> None:
        lanes = self._isa.lanes
        words = [self._words(block, plane, k // BITS) for plane in range(self._planes)]
        with T.serial(0, size) as i:
            for vec in words[0].vectors:
                parts = [_plus_or_minus(bits.get(0, vec), lanes) for bits in words]
                value = parts[0]
                if self._planes == 2:
                    value = (parts[0] + parts[1]) * simd.splat(T.float32(0.5), lanes)
                simd.save(self._decoded, [chunk, k + i], vec[0], lanes, value)
                for bits in words:
                    bits.set(0, vec, bits.get(0, vec) >> word(1, lanes))

    def _words(self, block: Any, plane: int, index: Any) -> simd.Accumulators:
        """The words of one plane for all outputs of a block."""
        bits = simd.Accumulators(1, self._columns, self._isa.lanes, "uint32")
        index = plane * words_of(self._inputs) + index
        bits.fill(lambda _, v: simd.load(self._w, [block, index], v[0], v[1]))
        return bits

    def _tile(
        self, chunk: Any, start: Any, first: Any, count: int, width: int, finish: Finish
    ) -> None:
        lanes = self._isa.lanes
        acc = simd.Accumulators(count, simd.padded(width, lanes), lanes)
        acc.fill(lambda _, vec: simd.zeros(vec[1]))

        def chain(k: Any, depth: int) -> None:
            for i in range(depth):
                for vec in acc.vectors:
                    weight = simd.load(self._decoded, [chunk, k + i], vec[0], lanes)
                    for r in range(count):
                        values = self._x(first + r, k, depth)
                        one = values if depth == 1 else T.Shuffle([values], [i])
                        value = simd.fma(simd.splat(one, lanes), weight, acc.get(r, vec), lanes)
                        acc.set(r, vec, value)

        simd.for_blocks(self._inputs, GROUP, chain)
        for row in range(count):
            finish(first + row, start, whole_and_tail(acc, row, width), self._isa)


def _plus_or_minus(bits: Any, lanes: int) -> Any:
    """±1.0 by the lowest bit of every word."""
    sign = (bits << word(BITS - 1, lanes)) & word(TOP, lanes)
    return T.reinterpret(f"float32x{lanes}", sign | word(_ONE, lanes))


def whole_and_tail(acc: simd.Accumulators, row: int, width: int) -> list[tuple[int, int, Any]]:
    """(offset, lanes, value) of one row of accumulators; the last vector may be short."""
    found = []
    for offset, size in acc.vectors:
        value, lanes = acc.get(row, (offset, size)), min(size, width - offset)
        if lanes < size:
            value = T.Shuffle([value], list(range(lanes)))
        found.append((offset, lanes, value))
    return found
