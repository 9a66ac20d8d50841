"""GEMM of real activations × signs: nothing is multiplied but scale.

    y[r, o] = epilogue( scale[o] · Σ_k ±x[r, k] + bias[o] )

x86 and scalar cores look up sums of four inputs (`tables`). Other vector units flip the sign of a
broadcast input and add, where there are few rows (`decoded` otherwise): the weights, which are 32
times smaller than floats, are what a multiply-add would wait for.

Weights are packed as in `bits`. Every result is one chain of additions in ascending k whatever the
tile; zeros among the weights add the chain of the second plane and halve the sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.binary.linear.bits import Finish
from millijoule.targets.kernels.binary.linear.bits_gpu import COLUMNS
from millijoule.targets.kernels.binary.linear.decoded import whole_and_tail
from millijoule.targets.kernels.binary.linear.tables import (
    GROUP,
    PER_WORD,
    build_table,
    look_up,
    table_entries,
)
from millijoule.targets.kernels.binary.words import BITS, with_signs, word, words_of
from millijoule.targets.kernels.gemm.varying import VaryingRows
from millijoule.targets.target import Isa


@dataclass(frozen=True)
class RealTile:
    """MR rows × NR outputs; ``tables``: sums of four inputs are looked up."""

    rows: int
    columns: int
    tables: bool


def real_tile(rows: int, outputs: int, isa: Isa) -> RealTile:
    """The tile that fills the registers of ``isa``."""
    if isa.gpu:
        return RealTile(min(rows, COLUMNS), COLUMNS, tables=False)
    shapes = {"avx512": (4, 64), "avx2": (2, 32), "neon": (4, 16), "sse2": (2, 8), "mve": (2, 8)}
    most, columns = shapes.get(isa.name, (1, 4))
    width = -(-min(columns, outputs) // isa.lanes) * isa.lanes
    return RealTile(min(most, rows), width, isa.name in ("avx512", "avx2") or isa.lanes == 1)


def tables_type(tile: RealTile, chunks: int, inputs: int, isa: Isa) -> TensorType:
    """Scratch memory for the tables of a tile of rows."""
    groups = -(-inputs // GROUP)
    return TensorType((chunks, tile.rows, groups, table_entries(isa)), "float32")


class RealGemm:
    """The loops of one product; ``x(row, k, lanes)`` loads inputs, ``w`` holds packed weights."""

    def __init__(
        self, x: Any, w: Any, tables: Any, inputs: int, outputs: int, tile: RealTile, isa: Isa
    ) -> None:
        self._x, self._w, self._tables, self._isa, self._tile = x, w, tables, isa, tile
        self._inputs, self._outputs = inputs, outputs
        self._planes = int(w.shape[1]) // words_of(inputs)

    def rows(self, chunk: Any, first: Any, count: int, finish: Finish) -> None:
        """``count`` rows from ``first`` against all outputs."""
        if self._tile.tables:
            for r in range(count):
                self._build(chunk, r, first + r)
        width = self._tile.columns

        def block(start: Any, size: int) -> None:
            self._block(chunk, first, count, start // width, start, size, finish)

        simd.for_blocks(self._outputs, width, block)

    def _build(self, chunk: Any, r: int, row: Any) -> None:
        def group(k: Any, size: int) -> None:
            x = [self._x(row, k + j, 1) if j < size else T.float32(0) for j in range(GROUP)]
            build_table(self._tables, [chunk, r, k // GROUP], x, self._isa)

        simd.for_blocks(self._inputs, GROUP, group)

    def _block(
        self, chunk: Any, first: Any, count: int, block: Any, start: Any, width: int, finish: Finish
    ) -> None:
        lanes = self._isa.lanes
        acc = simd.Accumulators(count, simd.padded(width, lanes), lanes)
        acc.fill(lambda _, vec: simd.zeros(vec[1]))
        weights = simd.Accumulators(1, simd.padded(width, lanes), lanes, "uint32")
        for plane in range(self._planes):
            base = plane * words_of(self._inputs)

            def one_word(k: Any, size: int, base: int = base) -> None:
                index = base + k // BITS
                weights.fill(lambda _, v: simd.load(self._w, [block, index], v[0], v[1]))
                if self._tile.tables:
                    self._from_tables(chunk, k // GROUP, size, acc, weights)
                else:
                    self._from_inputs(first, k, size, acc, weights)

            simd.for_blocks(self._inputs, BITS, one_word)
        for row in range(count):
            finish(first + row, start, self._sums(acc, row, width), self._isa)

    def _sums(self, acc: simd.Accumulators, row: int, width: int) -> list[tuple[int, int, Any]]:
        found = whole_and_tail(acc, row, width)
        if self._planes == 1:
            return found
        return [(o, n, v * simd.splat(T.float32(0.5), n)) for o, n, v in found]

    def _from_tables(
        self, chunk: Any, group: Any, size: int, acc: simd.Accumulators, weights: Any
    ) -> None:
        assert -(-size // GROUP) <= PER_WORD
        for g in range(-(-size // GROUP)):
            for vec in acc.vectors:
                for r in range(acc.rows):
                    index = [chunk, r, group + g]
                    found = look_up(self._tables, index, weights.get(0, vec), g, vec[1], self._isa)
                    acc.set(r, vec, acc.get(r, vec) + found)

    def _from_inputs(
        self, first: Any, k: Any, size: int, acc: simd.Accumulators, weights: Any
    ) -> None:
        with T.serial(0, size) as i:
            for vec in acc.vectors:
                current, lanes = weights.get(0, vec), vec[1]
                for r in range(acc.rows):
                    x = simd.splat(self._x(first + r, k + i, 1), lanes)
                    signed = with_signs(x, current << word(BITS - 1, lanes), lanes)
                    acc.set(r, vec, acc.get(r, vec) + signed)
                weights.set(0, vec, weights.get(0, vec) >> word(1, lanes))


def for_tiles(total: Any, tile: int, chunks: int, body: Any) -> None:
    """``body(chunk, first, count)`` for all tiles, which ``chunks`` workers share."""
    if not isinstance(total, int):
        _for_varying_tiles(VaryingRows(total, tile), chunks, body)
        return
    if chunks == 1:
        simd.for_blocks(total, tile, lambda first, count: body(0, first, count))
        return
    whole = total // tile
    with T.parallel(0, chunks) as chunk, tir.between(*simd.part_of(whole, chunk, chunks)) as i:
        body(chunk, i * tile, tile)
    if total % tile:
        body(0, whole * tile, total % tile)


def _for_varying_tiles(rows: VaryingRows, chunks: int, body: Any) -> None:
    """`for_tiles` of a number of rows that is known only when the program runs."""
    with T.parallel(0, chunks) if chunks > 1 else T.serial(0, 1) as chunk:
        part = simd.part_of(rows.tiles, chunk, chunks)
        rows.between(*part, lambda first, count: body(chunk, first, count))
