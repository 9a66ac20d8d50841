"""How the tiles of a packed GEMM are ordered and shared between threads.

The unit of work is a block of columns beside a group of row tiles. Work is numbered with the groups
inside a block, so that the weights of a block stay in the second-level cache while the rows pass;
or with the blocks inside a group, where it is the rows that would not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.sizes import most
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.form import parallel_chunks
from millijoule.targets.kernels.gemm.tile import CACHE_BYTES, GemmShape, Tile, row_blocks
from millijoule.targets.kernels.gemm.varying import VaryingRows
from millijoule.targets.target import Isa

LINE_BYTES = 64
Segments = Sequence[tuple[int, int]] | VaryingRows  # row tiles: (how many, rows of each) …
_THREADS = (2, 4)  # numbers of threads between which work is to be even
_UNEVEN = 1 / 16
_HIDING = 32  # rows
# Weights of fewer bytes come along fast enough by themselves
FETCHED_BYTES = 32 << 10


@dataclass(frozen=True)
class Grid:
    """``blocks`` of columns × ``groups`` of row tiles."""

    blocks: int
    groups: int
    rows_first: bool
    parallel: bool

    def run(self, body: Callable[[Any, Any], None]) -> None:
        """``body(block, group)`` for all work."""
        total = self.blocks * self.groups
        if total == 1:
            body(0, 0)
            return
        with (T.parallel if self.parallel else T.serial)(0, total) as index:
            if self.groups == 1:
                body(index, 0)
            elif self.blocks == 1:
                body(0, index)
            elif self.rows_first:
                body(index % self.blocks, index // self.blocks)
            else:
                body(index // self.groups, index % self.groups)


def plan_grid(shape: GemmShape, blocks: int, tiles: int) -> Grid:
    """The grid of ``blocks`` of columns and ``tiles`` row tiles."""
    rows_bytes = 4 * most(shape.batch * shape.steps) * shape.channels
    weights_bytes = 4 * shape.taps * shape.channels * shape.outputs
    rows_first = blocks > 1 and rows_bytes > CACHE_BYTES and weights_bytes <= CACHE_BYTES
    least = -(-2 * rows_bytes // CACHE_BYTES) if rows_first else 1
    groups = least = min(least, tiles)
    parallel = parallel_chunks(max(blocks * tiles, 2), shape.multiply_adds) > 1
    if parallel:
        while groups < min(tiles, least + 16) and _uneven(blocks * groups) > _UNEVEN:
            groups += 1
    return Grid(blocks, groups, rows_first, parallel and blocks * groups > 1)


def _uneven(work: int) -> float:
    """By how much the busiest of some threads exceeds its share."""
    return max(-(-work // threads) * threads / work for threads in _THREADS) - 1


def row_tiles(total: int, tallest: int) -> Segments:
    """The row tiles of ``total`` rows, which may vary."""
    return row_blocks(total, tallest) if isinstance(total, int) else VaryingRows(total, tallest)


def count_tiles(segments: Segments) -> Any:
    """How many row tiles there are: a number or an expression."""
    if isinstance(segments, VaryingRows):
        return segments.tiles
    return sum(count for count, _ in segments)


def for_tiles(
    segments: Segments, group: Any, groups: int, body: Callable[[Any, int], None]
) -> None:
    """``body(first row, rows)`` for the row tiles of ``group``; ``segments`` from `row_tiles`."""
    if isinstance(segments, VaryingRows):
        tiles = segments.tiles
        segments.between(*simd.part_of(tiles, group, groups), body)
        return
    total = sum(count for count, _ in segments)
    low, high = simd.part_of(total, group, groups) if groups > 1 else (0, 0)
    tile = row = 0
    for count, rows in segments:
        first, last = tile, tile + count
        if groups > 1:
            with tir.between(T.max(low, first), T.min(high, last)) as i:
                body((i - first) * rows + row, rows)
        elif count == 1:
            body(row, rows)
        else:
            with T.serial(0, count) as i:
                body(i * rows + row, rows)
        tile, row = last, row + count * rows


def lines_ahead(shape: GemmShape, tile: Tile, isa: Isa) -> int:
    """Cache lines of the next block of weights to fetch for every row of this one; mostly 0.

    A model reads every weight once per run, so that none is in a cache of the core: they would come
    at the pace of main memory, or of the shared cache, while the first rows of a block wait. Enough
    rows of work on one block hide the way of the next: 49×512×512 in 99 µs instead of 115 (floor of
    multiply-adds 97), 49×160×160 in 10 instead of 13.
    """
    weights = 4 * shape.channels * shape.outputs
    block = 4 * shape.channels * tile.columns
    plain = shape.batch == shape.taps == 1 and isa.name in ("avx512", "avx2")
    steps = most(shape.steps)
    if not plain or weights <= FETCHED_BYTES or steps < _HIDING:
        return 0
    if steps != shape.steps:  # they vary: enough for a quarter of the most
        steps = max(_HIDING, steps // 4)
    return -(-block // (LINE_BYTES * steps))


def tile_of(segments: Segments, number: Any, body: Callable[[Any, int], None]) -> None:
    """``body(first row, rows)`` for the row tile of one number; ``segments`` from `row_tiles`."""
    if isinstance(segments, VaryingRows):
        segments.one(number, body)
        return
    (count, tall), *shorter = segments
    if not shorter:
        body(number * tall, tall)
        return
    short = shorter[0][1]
    with T.If(number < count):
        with T.Then():
            body(number * tall, tall)
        with T.Else():
            body(number * short + count * (tall - short), short)
