"""Direct convolution, channels last, with its elementwise epilogue.

    y[b, i, j, o] = epilogue( Σ_{h, v, c} x[b, i·s + h·d − p, j·s + v·d − p, c] · w[h, v, c, o] )

An implicit GEMM: its rows are neighbouring pixels of one row of results, its columns output
channels of one group. A tile holds MR pixels × NR channels in registers, for every (h, v, c) loads
NR/lanes vectors of w, broadcasts MR values of x, and does MR·NR/lanes multiply-adds. Nothing is
copied: taps that fall on the border are left out, for rows by the bounds of the loop over h, for
columns by code of their own for the first and last tile. Inside, the taps of a row of the filter
are one long run of x, for neighbouring pixels lie side by side.

Weights are packed at build time as [blocks, KH·KW·C, NR]: a tile reads them as one stream. Floor:
multiply-adds (borders left out) over the FMA peak.

Every result is one chain of multiply-adds in ascending (h, v, c), whatever the tile or the threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.conv.direct.tile import (
    ConvTile,
    choose_tile,
    pack_filters,
    packed_width,
)
from millijoule.targets.kernels.conv.flat import Flat, PixelWriter
from millijoule.targets.kernels.conv.shape import ConvShape
from millijoule.targets.kernels.conv.tiles import Run, cut, tap_bounds, taps_of
from millijoule.targets.kernels.epilogue import Step
from millijoule.targets.kernels.form import KernelForm, parallel_chunks
from millijoule.targets.target import Isa

__all__ = ["choose_tile", "conv2d_f32", "pack_filters"]

# Bytes of x, weights and results that a chunk of rows may touch: half of a second-level cache
CHUNK_BYTES = 256 << 10


def conv2d_f32(
    shape: ConvShape,
    x_type: TensorType,
    packed: TensorType,
    extra: Sequence[TensorType],
    result: TensorType,
    steps: Sequence[Step],
    isa: Isa,
) -> KernelForm:
    """Kernel over (x [B, H, W, C], packed weights, epilogue operands…) → y [B, OH, OW, O]."""
    tile = choose_tile(shape, isa)
    name = f"conv2d_f32_{tile.pixels}x{tile.channels}_{isa.name}"
    with tir.kernel(name, [x_type, packed, *extra], [result]) as k:
        operands = k.buffers[2 : 2 + len(extra)]
        writer = PixelWriter(k.buffers[2 + len(extra)], operands, steps, shape.outputs)
        for part, first in _parts(shape, tile):
            _Direct(part, first, tile, Flat(k.buffers[0]), k.buffers[1], writer, isa).build()
    return KernelForm(k.func)


def _parts(shape: ConvShape, tile: ConvTile) -> list[tuple[ConvShape, int]]:
    """Shapes that make up ``shape``, with their first pixel.

    Pointwise convolutions know no rows: their pixels are cut into rows of a tile, and the rest.
    """
    if not shape.pointwise:
        return [(shape, 0)]
    length = -(-shape.pixels // -(-shape.pixels // tile.pixels))
    rest = shape.pixels % length
    parts = [(shape.as_rows(shape.pixels - rest, length), 0)]
    return parts + ([(shape.as_rows(rest, rest), shape.pixels - rest)] if rest else [])


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
    ) -> None:
        self.shape, self.first, self.tile, self.isa = shape, first, tile, isa
        self.x, self.w, self.writer = x, w, writer
        self.width = packed_width(shape, tile)
        self.blocks = -(-shape.group_outputs // self.width)

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
        rows = shape.batch * shape.rows.out
        bytes_of_row = 4 * (shape.columns.size * shape.channels + shape.columns.out * shape.outputs)
        size = min(rows, max(1, CHUNK_BYTES // bytes_of_row))
        chunks, blocks = -(-rows // size), shape.groups * count
        parallel = parallel_chunks(blocks * chunks, shape.multiply_adds) > 1
        with (T.parallel if parallel else T.serial)(0, blocks * chunks) as job:
            # what does not fit in the cache is in the outer loop
            if shape.depth * shape.outputs * 4 > CHUNK_BYTES:
                which, chunk = job // chunks, job % chunks
            else:
                which, chunk = job % blocks, job // blocks
            group, block = which // count, which % count + first
            with T.serial(0, T.min(size, rows - chunk * size)) as r:
                row = chunk * size + r
                self._row(row // shape.rows.out, row % shape.rows.out, group, block, width)

    def _row(self, b: Any, i: Any, group: Any, block: Any, width: int) -> None:
        """Row ``i`` of the results of image ``b``, for one block of channels."""
        for run in cut(self.shape.columns, self.tile.pixels):
            with T.serial(0, run.count) as t:
                self._tile(b, i, run, run.start + t * run.size, group, block, width)

    def _tile(
        self, b: Any, i: Any, run: Run, start: Any, group: Any, block: Any, width: int
    ) -> None:
        """Results ``start`` to ``start + run.size`` of row ``i``."""
        shape = self.shape
        columns, channels = shape.columns, shape.group_channels
        filters = group * self.blocks + block
        acc = simd.Accumulators(run.size, width, self.isa.lanes)
        acc.fill(lambda _, vec: simd.zeros(vec[1]))
        taps = taps_of(columns, range(run.start, run.start + run.size))
        everything = list(range(run.size))
        merge = (
            columns.dilation == 1
            and shape.groups == 1
            and taps == [(tap, everything) for tap in range(columns.taps)]
        )
        runs = (
            [(0, everything, columns.taps * channels)]
            if merge
            else [(tap, valid, channels) for tap, valid in taps]
        )
        low, high = tap_bounds(shape.rows, i)
        with T.serial(low, high) as h:
            source = (b * shape.rows.size + shape.rows.source(i, h)) * columns.size + self.first
            for tap, valid, length in runs:
                first = (source + columns.source(start, tap)) * shape.channels + group * channels
                k = (h * columns.taps + tap) * channels
                self._multiply(acc, filters, k, first, valid, length)
        pixel = (b * shape.rows.out + i) * columns.out + start + self.first
        channel = group * shape.group_outputs + block * self.width
        for p in everything:
            for vec in acc.vectors:
                self.writer.write(pixel + p, channel + vec[0], vec[1], acc.get(p, vec))

    def _multiply(
        self,
        acc: simd.Accumulators,
        filters: Any,
        k: Any,
        first: Any,
        valid: Sequence[int],
        length: int,
    ) -> None:
        """Multiply-adds of ``length`` neighbouring inputs of the tile's ``valid`` pixels."""
        step = self.shape.columns.stride * self.shape.channels

        def chain(c: Any, depth: int) -> None:
            # pixel by pixel, so that only one value of x is in a register at a time
            for d, p, vec in itertools.product(range(depth), valid, acc.vectors):
                weight = simd.load(self.w, [filters, k + c + d], vec[0], vec[1])
                values = self.x.load(first + p * step + c, depth)
                value = simd.splat(simd.lane(values, d, depth), vec[1])
                acc.set(p, vec, simd.fma(value, weight, acc.get(p, vec), vec[1], self.isa))

        simd.for_blocks(length, self.tile.depth, chain)
