"""GEMM of bits on a GPU by counting: tiles of planes in shared memory, sums in registers.

    y[r, o] = epilogue( scale[o] · (pop(nonzero_r) − f · Σ_words pop((neg_r ^ neg_o) & nonzero_r))
                        + bias[o] )

as on a CPU (`bits`), with the same packed weights. A thread holds up to 4×4 sums; for every word it
reads 4 + 4 words of x and 4 of w from shared memory and does 16 times LOP3, POPC and IADD.

Floor: an SM counts 16 words per cycle (CUDA C++ Programming Guide, throughput of ``__popc``), a
quarter of its other integer rate, so counting is what takes the time: rows · outputs · words / (16
· SMs · clock). 128×768×768 on Orin (16 SMs, 1.3 GHz) are 2.4 million words, 7.1 µs; multiply-adds
of float32 would take 28. A single row takes as long as its weights, 1 bit each, take from memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels.binary.linear.writer import ResultWriter
from millijoule.targets.kernels.binary.planes import NEGATIVE, NONZERO, Planes
from millijoule.targets.kernels.binary.words import words_of
from millijoule.targets.kernels.threads import Registers, Shared, barrier, ceil_div, for_all, launch
from millijoule.targets.target import Isa

COLUMNS = 64  # outputs of a block
FEW_ROWS = 8  # that every thread holds all of
WORDS = 8  # of a row that are in shared memory at once


@dataclass(frozen=True)
class ThreadTile:
    """``across`` × ``down`` threads of ``rows`` × ``columns`` sums each."""

    across: int
    down: int
    rows: int
    columns: int

    @staticmethod
    def of(rows: int) -> ThreadTile:
        """Few rows are held by every thread of a single row of threads."""
        return ThreadTile(COLUMNS, 1, rows, 1) if rows <= FEW_ROWS else ThreadTile(16, 8, 4, 4)

    @property
    def height(self) -> int:
        """Rows of a block."""
        return self.down * self.rows


def bit_gemm(
    planes: Planes, w: Any, rows: int, inputs: int, outputs: int, writer: ResultWriter, isa: Isa
) -> None:
    """One launch of the product of packed x and packed weights [⌈O/64⌉, P·words, 64]."""
    tile, words = ThreadTile.of(rows), words_of(inputs)
    grid = ceil_div(outputs, COLUMNS), ceil_div(rows, tile.height)
    with launch(grid, [tile.across, tile.down]) as ((bx, by), (tx, ty)):
        block = _Block(planes, w, rows, words, tile, (bx, by, tx, ty))
        block.sum_up()
        for i in range(tile.rows):
            row = by * tile.height + ty + tile.down * i
            for j in range(tile.columns):
                column = bx * COLUMNS + tx + tile.across * j
                with T.If(T.And(row < rows, column < outputs)), T.Then():
                    writer.write_row(row, column, [(0, 1, block.total(i, j))], isa)


class _Block:
    """The code of one block."""

    def __init__(
        self, planes: Planes, w: Any, rows: int, words: int, tile: ThreadTile, at: Any
    ) -> None:
        self._planes, self._w, self._rows, self._tile = planes, w, rows, tile
        self._words, self._depth = words, min(WORDS, words)
        self._weights = int(w.shape[1]) // words
        self._bx, self._by, self._tx, self._ty = at
        self._threads = tile.across * tile.down
        self._me = self._ty * tile.across + self._tx
        # one longer than a tile is high, so that words of one row lie in different banks
        self._x = Shared((2, self._depth, tile.height), "uint32", pad=1)
        self._s = Shared((self._weights, self._depth, COLUMNS), "uint32")
        self._counts = Shared((tile.height, self._depth), "int32", pad=1)
        self._acc = Registers(tile.rows * tile.columns, "int32")
        self._nonzero = Registers(tile.rows, "int32")

    def sum_up(self) -> None:
        """All words; `total` has the sums afterwards."""
        tile = self._tile
        for i in range(tile.rows * tile.columns):
            self._acc[i] = T.int32(0)
        for i in range(tile.rows):
            self._nonzero[i] = T.int32(0)
        with T.serial(0, ceil_div(self._words, self._depth)) as chunk:
            first = chunk * self._depth
            self._load(first)
            barrier()
            with T.unroll(0, self._depth) as word:
                self._count(word)
            self._count_nonzero()
            barrier()
        self._gather_counts()

    def total(self, i: int, j: int) -> Any:
        """Σ a·w of row ``i`` and column ``j`` of this thread."""
        factor = 2 if self._weights == 1 else 1
        return self._nonzero[i] - self._acc[i * self._tile.columns + j] * T.int32(factor)

    def _load(self, first: Any) -> None:
        height, depth = self._tile.height, self._depth

        def one_x(e: Any) -> None:
            word, r, plane = e % depth, e // depth % height, e // depth // height
            row = self._by * height + r
            inside = T.And(row < self._rows, first + word < self._words)
            value = self._planes.plane(row, plane, first + word)
            self._x[plane, word, r] = T.if_then_else(inside, value, T.uint32(0))

        def one_w(e: Any) -> None:
            column, word, plane = e % COLUMNS, e // COLUMNS % depth, e // COLUMNS // depth
            value = self._w[self._bx, plane * self._words + first + word, column]
            if self._words % depth:
                value = T.if_then_else(first + word < self._words, value, T.uint32(0))
            self._s[plane, word, column] = value

        for_all(2 * depth * height, self._threads, self._me, one_x)
        for_all(self._weights * depth * COLUMNS, self._threads, self._me, one_w)

    def _count(self, word: Any) -> None:
        tile = self._tile
        for i in range(tile.rows):
            r = self._ty + tile.down * i
            x, mask = self._x[NEGATIVE, word, r], self._x[NONZERO, word, r]
            for j in range(tile.columns):
                at = i * tile.columns + j
                for plane in range(self._weights):
                    w = self._s[plane, word, self._tx + tile.across * j]
                    found = T.cast(T.popcount((w ^ x) & mask), "int32")
                    self._acc[at] = self._acc[at] + found

    def _count_nonzero(self) -> None:
        """Every thread counts one word of its rows; `_gather_counts` adds them up."""
        for i in range(self._tile.rows):
            mask = self._x[NONZERO, self._tx % self._depth, self._ty + self._tile.down * i]
            self._nonzero[i] = self._nonzero[i] + T.cast(T.popcount(mask), "int32")

    def _gather_counts(self) -> None:
        tile = self._tile
        with T.If(self._tx < self._depth), T.Then():
            for i in range(tile.rows):
                self._counts[self._ty + tile.down * i, self._tx] = self._nonzero[i]
        barrier()
        for i in range(tile.rows):
            self._nonzero[i] = T.int32(0)
            for word in range(self._depth):
                part = self._counts[self._ty + tile.down * i, word]
                self._nonzero[i] = self._nonzero[i] + part
