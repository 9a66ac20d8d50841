"""Loops of kernels that slide a window over an image channel by channel: depthwise, pooling.

A tile is a few neighbouring results of one row, a vector of channels wide. Its inputs are visited
column by column: each is loaded once and goes into every result whose window it lies in, so that
only the results, one row of weights and one input are in registers. Floor: loads, or multiply-adds,
whichever are more; for images beyond the second-level cache, bytes over its bandwidth. On one core
of a Zen 5: 112×112×48 with stride 2 in 30 µs, 56×56×48 in 15, 28×28×128 in 10, 14×14×256 in 5.4;
chains of multiply-adds alone would take 10, 10, 7, 3.4. The rest is waiting for the second level.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.sizes import most
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.conv.direct.chunks import Jobs, rows_in_cache
from millijoule.targets.kernels.conv.flat import Flat
from millijoule.targets.kernels.conv.shape import ConvShape
from millijoule.targets.kernels.conv.tiles import Run, cut, tap_bounds
from millijoule.targets.kernels.form import parallel_chunks, rows_of_chunk
from millijoule.targets.target import Isa

# Results of a tile: with fewer, their chains of dependent operations do not fill the pipeline
PIXELS = 14
# First-level cache of data, as small as common: 32 KiB
LINE_BYTES, SETS, WAYS = 64, 64, 8
# What a tile does with one vector of x: (x, h, [(tap v, result p), …]), in ascending v
Visit = Callable[[Any, Any, list[tuple[int, int]]], None]


class Tile:
    """``run.size`` results from column ``start`` of row ``i`` of image ``b``, for ``lanes``
    channels from ``channel``; ``ahead``: the same pixels of the next channels are asked for."""

    def __init__(
        self,
        shape: ConvShape,
        x: Flat,
        where: tuple[Any, Any, Any],
        run: Run,
        channels: tuple[Any, int],
        *,
        ahead: bool,
    ) -> None:
        self.shape, self.run, self.ahead = shape, run, ahead
        self.channel, self.lanes = channels
        self._x = x
        self._b, self.i, self._start = where

    def results(self) -> range:
        """Indices of the results."""
        return range(self.run.size)

    def pixel(self, p: int) -> Any:
        """Number of result ``p`` among the pixels of the batch."""
        rows = self.shape.rows.out
        return (self._b * rows + self.i) * self.shape.columns.out + self._start + p

    def visit(self, body: Visit) -> None:
        """``body`` for all inputs in the image, row by row of the window, column by column."""
        columns, rows = self.shape.columns, self.shape.rows
        users: dict[int, list[tuple[int, int]]] = {}
        for p in self.results():
            for tap in range(columns.taps):
                if columns.valid(self.run.start + p, tap):
                    offset = p * columns.stride + tap * columns.dilation
                    users.setdefault(offset, []).append((tap, p))
        low, high = tap_bounds(rows, self.i)
        with tir.between(low, high) as h:
            line = (self._b * rows.size + rows.source(self.i, h)) * columns.size
            first = line + columns.source(self._start, 0)
            for offset, pairs in sorted(users.items()):
                at = (first + offset) * self.shape.channels + self.channel
                if self.ahead:
                    self._x.prefetch(at + self.lanes)
                body(self._x.load(at, self.lanes), h, sorted(pairs))


def for_tiles(shape: ConvShape, x: Flat, isa: Isa, body: Callable[[Tile], None]) -> None:
    """``body`` for every tile; chunks of rows are shared among threads.

    A row of results reads rows of x that the one before has read. Where those leave the first-level
    cache in between, a vector of channels goes through all rows of a chunk before the next one, if
    that keeps them; if not, the next vector is asked for while one is computed.
    """
    runs, jobs = cut(shape.columns, PIXELS), _jobs(shape, isa)
    ahead = jobs.size == 1 and isa.name == "avx512" and not _fits(shape)
    with jobs.loop as chunk:

        def tiles(c: Any, lanes: int) -> None:
            with jobs.rows_of(chunk) as r:
                row = chunk * jobs.size + r
                for run in runs:
                    with T.serial(0, run.count) as t:
                        i, j = row % shape.rows.out, run.start + t * run.size
                        where = row // shape.rows.out, i, j
                        body(Tile(shape, x, where, run, (c, lanes), ahead=ahead))

        simd.for_blocks(shape.channels, isa.lanes, tiles)


def _jobs(shape: ConvShape, isa: Isa) -> Jobs:
    """Chunks of one row, or of as many as stay in the second-level cache."""
    rows = shape.batch * shape.rows.out
    size = rows_in_cache(shape) if by_channels(shape, isa) else 1
    parallel = parallel_chunks(rows, 4 * shape.pixels * shape.outputs * shape.rows.taps) > 1
    if parallel and size > 1:
        size = rows_of_chunk(most(rows), -(-most(rows) // size))
    return Jobs(1, size, rows, weights_first=False, parallel=parallel)


def by_channels(shape: ConvShape, isa: Isa) -> bool:
    """Whether the first-level cache holds what a row of results touches of one vector of channels,
    but not what it touches of all.

    Pixels lie ``channels`` apart: where that is a multiple of a large power of two, they share few
    sets of the cache. And neighbouring vectors in turn are what prefetching expects.
    """
    apart, vector = 4 * shape.channels, 4 * isa.lanes
    sets = SETS // math.gcd(apart // LINE_BYTES, SETS) if apart >= LINE_BYTES else SETS
    return not _fits(shape) and _pixels(shape) * -(-vector // LINE_BYTES) <= WAYS * sets


def _fits(shape: ConvShape) -> bool:
    """Whether the first-level cache holds what a row of results touches."""
    return 4 * _pixels(shape) * shape.channels <= WAYS * SETS * LINE_BYTES


def _pixels(shape: ConvShape) -> int:
    """How many pixels a row of results touches, its own among them."""
    return shape.rows.taps * shape.columns.size + shape.columns.out
