"""Direct convolution, channels last, with its elementwise epilogue.

    y[b, i, j, o] = epilogue( Σ_{h, v, c} x[b, i·s + h·d − p, j·s + v·d − p, c] · w[h, v, c, o] )

An implicit GEMM: its rows are neighbouring pixels of one row of results, its columns output
channels of one group. A tile holds MR pixels × NR channels in registers, for every (h, v, c) loads
NR/lanes vectors of w, broadcasts MR values of x, and does MR·NR/lanes multiply-adds. Nothing is
copied: taps that fall on the border are left out, for rows by the bounds of the loop over h, for
columns by code of their own for the first and last tile. Inside, the taps of a row of the filter
are one long run of x, for neighbouring pixels lie side by side.

Weights are packed at build time as [blocks, KH·KW·C, NR]: a tile reads them as one stream. Floor:
multiply-adds (borders left out) over the FMA peak. While the tiles of a block are computed, the
next block's weights are asked for (`ahead`).

Measured on one core of a Zen 5 that does 262 GFLOP/s: ResNet-50's layers with 3×3 and 1×1 filters
reach 200 to 276 (borders counted). Images as they come: 16×16 patches to 192 channels in 226 µs
(products alone 217), 7×7 to 64 in 1.07 ms (0.89), because taps are a loop wherever all of them have
an input: written out, LLVM loads so far ahead that accumulators leave their registers. AArch64:
0.295 instructions per multiply-add for 3×3, 64→64 at 28×28, 1.18 times the floor of `fmla` alone
(``benchmarks/arm_instructions.py``).

Every result is one chain of multiply-adds in ascending (h, v, c), whatever the tile or the threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.sizes import Size, most
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.conv.direct.ahead import elements_ahead
from millijoule.targets.kernels.conv.direct.chunks import plan_jobs
from millijoule.targets.kernels.conv.direct.gpu import emit_conv
from millijoule.targets.kernels.conv.direct.tile import (
    ConvTile,
    choose_tile,
    pack_filters,
    packed_width,
)
from millijoule.targets.kernels.conv.flat import Flat, PixelWriter
from millijoule.targets.kernels.conv.shape import Axis, ConvShape
from millijoule.targets.kernels.conv.tiles import Run, cut, tap_bounds, taps_of
from millijoule.targets.kernels.epilogue import Step
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.kernels.gemm.chains import HALF_BLOCK, HalfSums
from millijoule.targets.target import Isa

__all__ = ["choose_tile", "conv2d_f32", "pack_filters"]

MOST_ROW_TILES = 4


def conv2d_f32(
    shape: ConvShape,
    x_type: TensorType,
    packed: TensorType,
    extra: Sequence[TensorType],
    result: TensorType,
    steps: Sequence[Step],
    isa: Isa,
    *,
    planar: bool = False,
) -> KernelForm:
    """Kernel over (x [B, H, W, C], packed weights, epilogue operands…) → y [B, OH, OW, O].

    ``planar``: x is [B, C, H, W], as images come; for few channels of one group.
    """
    tile = choose_tile(shape, isa)
    name = f"conv2d_{isa.product.replace('loat', '')}_{tile.pixels}x{tile.channels}_{isa.name}"
    with tir.kernel(name, [x_type, packed, *extra], [result]) as k:
        operands = k.buffers[2 : 2 + len(extra)]
        writer = PixelWriter(k.buffers[2 + len(extra)], operands, steps, shape.outputs)
        if isa.gpu:
            emit_conv(shape, Flat(k.buffers[0]), k.buffers[1], writer, planar=planar)
        for part, first in () if isa.gpu else _parts(shape, tile):
            _Direct(
                part, first, tile, Flat(k.buffers[0]), k.buffers[1], writer, isa, planar
            ).build()
    return KernelForm(k.func)


def _parts(shape: ConvShape, tile: ConvTile) -> list[tuple[ConvShape, int]]:
    """Shapes that make up ``shape``, with their first pixel.

    Pointwise convolutions know no rows: their pixels are cut into rows of a tile, and the rest.
    """
    if not shape.pointwise:
        return [(shape, 0)]
    if isinstance(shape.batch, Size):
        return [(_image_rows(shape, tile), 0)]
    tiles = -(-shape.pixels // tile.pixels)
    length = -(-shape.pixels // tiles)
    rest = shape.pixels % length
    if rest and tiles <= MOST_ROW_TILES:  # a pass of their own would read all weights once more
        return [(shape.as_rows(shape.pixels, shape.pixels), 0)]
    parts = [(shape.as_rows(shape.pixels - rest, length), 0)]
    return parts + ([(shape.as_rows(rest, rest), shape.pixels - rest)] if rest else [])


def _image_rows(shape: ConvShape, tile: ConvTile) -> ConvShape:
    """A pointwise convolution of a batch that varies: every image as one row, if it is small."""
    if shape.columns.out >= tile.pixels:
        return shape
    return replace(shape, rows=Axis(1), columns=Axis(shape.rows.out * shape.columns.out))


def _rows_of_tile(shape: ConvShape, tile: ConvTile) -> int:
    """How many rows of a small image go into one tile; each tile is code of its own."""
    rows = tile.pixels // shape.columns.out
    few = rows > 1 and -(-shape.rows.out // rows) <= MOST_ROW_TILES
    # at 1×1 the pixels of a few rows are few, and far apart they fall into the same lines of cache
    many = shape.rows.taps * shape.columns.taps > 1
    return min(rows, shape.rows.out) if few and many else 1


def _everywhere(columns: Axis, taps: list[tuple[int, list[int]]], size: int) -> bool:
    """Whether every one of ``size`` results has an input for every tap."""
    return taps == [(tap, list(range(size))) for tap in range(columns.taps)]


@dataclass(frozen=True)
class _Block:
    """``width`` output channels of one group, in row or tile ``number`` of those that follow each
    other while the block stays."""

    group: Any
    block: Any
    width: int
    number: Any = 0

    def at(self, number: Any) -> _Block:
        """The same channels in another row or tile."""
        return replace(self, number=number)


class _Direct:
    """Writes the loops: blocks of channels and chunks of rows, rows, tiles, taps, channels."""

    def __init__(
        self,
        shape: ConvShape,
        first: int,
        tile: ConvTile,
        x: Flat,
        w: Any,
        writer: PixelWriter,
        isa: Isa,
        planar: bool,
    ) -> None:
        self.planar = planar
        self.shape, self.first, self.tile, self.isa = shape, first, tile, isa
        self.x, self.w, self.writer = x, w, writer
        self.width = packed_width(shape, tile)
        self.blocks = -(-shape.group_outputs // self.width)
        self.ahead = 0  # weights of the next block to ask for per input channel

    def build(self) -> None:
        """All loops; full blocks of channels first, then the last, narrower one of every group."""
        tail = self.shape.group_outputs - (self.blocks - 1) * self.width
        full = self.blocks if tail == self.width else self.blocks - 1
        if full:
            self._jobs(0, full, self.width)
        if full < self.blocks:
            self._jobs(full, 1, tail)

    def _jobs(self, first: int, count: int, width: int) -> None:
        """Blocks ``first`` to ``first + count`` of every group, for every chunk of rows."""
        shape = self.shape
        stacked = 1 if self.planar else _rows_of_tile(shape, self.tile)
        jobs = plan_jobs(shape, shape.groups * count, whole=stacked > 1)
        steps = range(0, shape.rows.out, stacked)
        across = sum(run.count for run in cut(shape.columns, self.tile.pixels))
        if jobs.weights_first:
            tiles = most(shape.batch) * len(steps) * across
        else:  # a block is left with its chunk of rows
            tiles = -(-jobs.size // stacked) * across
        self.ahead = 0 if self.planar else elements_ahead(shape, self.width, tiles, self.isa)
        with jobs.loop as job:
            which, chunk = jobs.at(job)
            where = _Block(which // count, which % count + first, width)
            if stacked > 1:
                done = chunk * len(steps) if jobs.weights_first else 0
                for number, i in enumerate(steps):
                    rows_here = range(i, min(i + stacked, shape.rows.out))
                    self._rows(chunk, rows_here, where.at(done + number))
                return
            with jobs.rows_of(chunk) as r:
                row = chunk * jobs.size + r
                number = row if jobs.weights_first else r
                self._row(row // shape.rows.out, row % shape.rows.out, where.at(number))

    def _row(self, b: Any, i: Any, where: _Block) -> None:
        """Row ``i`` of the results of image ``b``, for one block of channels in row ``number``."""
        runs, done = cut(self.shape.columns, self.tile.pixels), 0
        tiles = sum(run.count for run in runs)
        for run in runs:
            with T.serial(0, run.count) as t:
                number = where.number * tiles + done + t
                self._tile(b, i, run, run.start + t * run.size, where.at(number))
            done += run.count

    def _tile(self, b: Any, i: Any, run: Run, start: Any, where: _Block) -> None:
        """Results ``start`` to ``start + run.size`` of row ``i``, as any row may be."""
        shape, columns = self.shape, self.shape.columns
        acc = self._accumulators(run.size, where)
        taps = taps_of(columns, range(run.start, run.start + run.size))
        length = shape.group_channels
        if self._contiguous(taps, run.size):
            taps, length = taps[:1], columns.taps * length
        low, high = tap_bounds(shape.rows, i)
        with tir.between(low, high) as h:
            if self.planar and _everywhere(columns, taps, run.size):
                with T.serial(0, columns.taps) as tap:
                    self._planes(acc, where, (b, i, start), (h, tap), range(run.size))
                taps = []
            for tap, valid in taps:
                if self.planar:
                    self._planes(acc, where, (b, i, start), (h, tap), valid)
                    continue
                row, column = shape.rows.source(i, h), columns.source(start, tap)
                source = self._source(b, row, column, where)
                offsets = [(p, p * columns.stride * shape.channels) for p in valid]
                self._multiply(acc, where, h, tap, source, offsets, length)
        self._write(acc, (b * shape.rows.out + i) * columns.out + start, where)

    def _planes(
        self,
        acc: simd.Accumulators,
        where: _Block,
        result: tuple[Any, Any, Any],
        tap: tuple[Any, Any],
        valid: Sequence[int],
    ) -> None:
        """One tap (h, v) of all channels, for ``valid`` results from ``result`` (b, i, j) on."""
        shape, columns = self.shape, self.shape.columns
        (b, i, start), (h, v) = result, tap
        row, column = shape.rows.source(i, h), columns.source(start, v)
        offsets = [(p, p * columns.stride) for p in valid]
        for c in range(shape.channels):
            plane = (b * shape.channels + c) * shape.rows.size
            self._multiply(acc, where, h, v, (plane + row) * columns.size + column, offsets, 1, c)

    def _rows(self, b: Any, rows: range, where: _Block) -> None:
        """A few whole ``rows`` of a small image in one tile; what they read is known here."""
        shape, columns = self.shape, self.shape.columns
        acc = self._accumulators(len(rows) * columns.out, where)
        for h in range(shape.rows.taps):
            inside = [r for r, i in enumerate(rows) if shape.rows.valid(i, h)]
            for tap, valid in taps_of(columns, range(columns.out)) if inside else []:
                source = self._source(
                    b, shape.rows.source(rows[0], h), columns.source(0, tap), where
                )
                offsets = [
                    (
                        r * columns.out + p,
                        (r * shape.rows.stride * columns.size + p * columns.stride)
                        * shape.channels,
                    )
                    for r in inside
                    for p in valid
                ]
                self._multiply(acc, where, h, tap, source, offsets, shape.group_channels)
        self._write(acc, (b * shape.rows.out + rows[0]) * columns.out, where)

    def _accumulators(self, pixels: int, where: _Block) -> simd.Accumulators:
        acc = simd.Accumulators(pixels, where.width, self.isa.lanes)
        acc.fill(lambda _, vec: simd.zeros(vec[1]))
        return acc

    def _contiguous(self, taps: list[tuple[int, list[int]]], size: int) -> bool:
        """Whether a row of the filter is one run of x for all ``size`` results of a tile."""
        columns = self.shape.columns
        inside = _everywhere(columns, taps, size)
        return inside and columns.dilation == 1 and self.shape.groups == 1 and not self.planar

    def _source(self, b: Any, row: Any, column: Any, where: _Block) -> Any:
        """Where the channels of a pixel of x lie that belong to the block's group."""
        shape = self.shape
        pixel = (b * shape.rows.size + row) * shape.columns.size + column + self.first
        return pixel * shape.channels + where.group * shape.group_channels

    def _multiply(
        self,
        acc: simd.Accumulators,
        where: _Block,
        h: Any,
        tap: Any,
        source: Any,
        offsets: Sequence[tuple[int, int]],
        length: int,
        channel: int = 0,
    ) -> None:
        """Multiply-adds of ``length`` neighbouring inputs from ``source`` + offset, per result.

        ``channel``: which input channel comes first.
        """
        k = (h * self.shape.columns.taps + tap) * self.shape.group_channels + channel
        filters = where.group * self.blocks + where.block

        def chain(acc: simd.Accumulators, c: Any, depth: int) -> None:
            if self.ahead:
                done = where.number * self.shape.depth + k + c
                self._prefetch((filters + 1) * self.shape.depth * self.width + done * self.ahead)
            # pixel by pixel, so that only one value of x is in a register at a time
            for d, (p, offset), vec in itertools.product(range(depth), offsets, acc.vectors):
                weight = simd.load(self.w, [filters, k + c + d], vec[0], vec[1])
                values = simd.convert(self.x.load(source + offset + c, depth), acc.dtype, depth)
                value = simd.splat(simd.lane(values, d, depth), vec[1])
                weight = simd.convert(weight, acc.dtype, vec[1])
                total = simd.fma(value, weight, acc.get(p, vec), vec[1], self.isa, acc.dtype)
                acc.set(p, vec, total)

        def half(first: Any, size: int) -> None:
            with HalfSums(acc, [p for p, _ in offsets]) as part:
                simd.for_blocks(size, self.tile.depth, lambda c, n: chain(part, first + c, n))

        if self.isa.product == "float16":
            simd.for_blocks(length, HALF_BLOCK, half)
        else:
            simd.for_blocks(length, self.tile.depth, lambda c, n: chain(acc, c, n))

    def _prefetch(self, element: Any) -> None:
        """Ask for the weights at ``element`` of all blocks; behind the last it does no harm."""
        simd.prefetch(self.w, [0, 0, element])

    def _write(self, acc: simd.Accumulators, pixel: Any, where: _Block) -> None:
        channel = where.group * self.shape.group_outputs + where.block * self.width
        for p in range(acc.rows):
            for vec in acc.vectors:
                value = acc.get(p, vec)
                self.writer.write(pixel + self.first + p, channel + vec[0], vec[1], value)
