"""Packed GEMM for linear layers and convolutions along time, with its elementwise epilogue.

    y[b, t, n] = epilogue( Σ_{tap, c} x[b, t + tap − padding, c] · w[tap, c, n] )

A linear layer has one tap. Channels-last rows of neighbouring steps lie side by side, so that a
convolution needs no im2col: only its zero padding is copied, into planned scratch memory.

Weights are packed at build time as [N/NR, K, NR] (`pack_weights`): one tile reads them as one
contiguous stream. A tile holds MR×NR results in registers, for every k loads NR/lanes vectors of w
and MR broadcast values of x, and does MR·NR/lanes multiply-adds. Floor: multiply-adds over the FMA
peak for many rows (MR ≥ 4); bytes of the weights over cache bandwidth for one row.

NEON multiplies by one lane of a register (``fmla v.4s, v.4s, v.s[i]``), so x is loaded four
channels at a time and never broadcast. Instructions per multiply-add on AArch64, as counted in
QEMU by ``benchmarks/arm_instructions.py``:

    floor, nothing but fmla                               1/4                            = 0.250
    a 6×16 tile with its loads, per 4 k                   (96 + 6 x + 8 w pairs + 3)/384 = 0.294
    measured: 128×192×192, 128×256×1024, conv 3×256→256   0.303, 0.302, 0.300
    one row: fmla and the weights, each used once         (16 + 8 w pairs)/64            = 0.375
    measured: 1×256×256                                   0.397

32-bit NEON cannot take one lane (`vfma` wants whole registers) and has half the registers: every
value of x costs a broadcasting load, and a 5×8 tile measures 0.56 and 0.57.

On x86 a value of x is broadcast once for all vectors of its row. Measured on one core of a Zen 5
that does 266 GFLOP/s (AVX-512) or 135 (AVX2) of multiply-adds in registers alone: 241 to 263 and
119 to 134 for M ≥ 49 and N, K from 64 to 3072. Panels of weights stream from the second-level cache
at a third of its bandwidth: blocking K for the first level would only add partial sums in memory.
Weights that come from main memory, as those of a whole model do, are fetched a block ahead
(`grid.lines_ahead`): 249 to 252 GFLOP/s instead of 236 to 244. So is x, a tile ahead, for where it
comes from there, too: 197×256×197 runs at 87 to 89 % of the peak instead of 77 to 79.

In a float16 program, on cores with such arithmetic (``Isa.in_half``), eight lanes are multiplied at
once, in blocks of 64 k (`chains.HALF_BLOCK`) whose sums are widened and added in float32:

    floor, nothing but fmla                               1/8                            = 0.125
    a 9×16 tile with its loads, per 8 k                   (144 + 9 x + 8 w pairs + 4)/1152 = 0.143
    and, per 64 k, 18 sums cleared, widened, added        about 7.5 instructions each: 0.157
    measured: 197×192×576, 197×192×192, 197×768×192       0.163, 0.167, 0.161

Every result is one chain of multiply-adds in ascending k, or of such blocks, whatever the tile, so
a stream (one row) and a whole sequence give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.epilogue import Step
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.kernels.gemm.chains import accumulate, accumulate_half
from millijoule.targets.kernels.gemm.gpu import ProductShape, emit_product, panels
from millijoule.targets.kernels.gemm.grid import (
    LINE_BYTES,
    for_tiles,
    lines_ahead,
    plan_grid,
    row_tiles,
)
from millijoule.targets.kernels.gemm.rows import View, Writer, copy_padded
from millijoule.targets.kernels.gemm.tile import (
    GemmShape,
    Tile,
    choose_tile,
    pack_weights,
    padded,
    tallest,
)
from millijoule.targets.target import Isa

__all__ = ["GemmShape", "Tile", "choose_tile", "gemm_f32", "pack_weights", "product_on_gpu"]


def gemm_f32(
    shape: GemmShape,
    x_type: TensorType,
    packed: TensorType,
    extra: Sequence[TensorType],
    result: TensorType,
    steps: Sequence[Step],
    isa: Isa,
) -> KernelForm:
    """Kernel over (x, packed weights, epilogue operands…) → y; x and y of any rank, row-major."""
    if isa.gpu:
        return product_on_gpu(shape, x_type, packed, extra, result, steps)
    tile = choose_tile(shape, isa)
    padded_x = (shape.batch, shape.steps + 2 * shape.padding, shape.channels)
    scratch = (TensorType(padded_x, isa.product),) if shape.padding else ()
    name = f"gemm_{isa.product.replace('loat', '')}_{tile.rows}x{tile.columns}_{isa.name}"
    with tir.kernel(name, [x_type, packed, *extra], [result, *scratch]) as k:
        x, w = k.buffers[:2]
        y = k.buffers[2 + len(extra)]
        source = View(x, (shape.batch, shape.steps, shape.channels))
        if shape.padding:
            target = View(k.buffers[-1], padded_x)
            copy_padded(source, target, shape, isa, isa.product)
            source = target
        writer = _writer(shape, y, k.buffers[2 : 2 + len(extra)], steps)
        _Product(source, w, writer, shape, tile, isa).emit()
    return KernelForm(k.func, scratch)


def _writer(shape: GemmShape, y: Any, extra: Sequence[Any], steps: Sequence[Step]) -> Writer:
    sizes = (shape.batch, shape.out_steps, shape.outputs)
    return Writer(View(y, sizes), [View(b, sizes) for b in extra], extra, steps)


def product_on_gpu(
    shape: GemmShape,
    x_type: TensorType,
    packed: TensorType,
    extra: Sequence[TensorType],
    result: TensorType,
    steps: Sequence[Step],
) -> KernelForm:
    """The product on a GPU: float32, or int8 with sums in int32.

    Steps outside of x are zeros where they are loaded, so nothing is padded beforehand.
    """
    integer = x_type.dtype == "int8"
    kind, dtype = ("s8", "int32") if integer else ("f32", "float32")
    depth = shape.taps * shape.channels
    with tir.kernel(f"gemm_{kind}_gpu", [x_type, packed, *extra], [result]) as k:
        source = View(k.buffers[0], (shape.batch, shape.steps, shape.channels))
        weights = panels(k.buffers[1])
        writer = _writer(shape, k.buffers[-1], k.buffers[2:-1], steps)

        def x(b: Any, t: Any, i: Any) -> Any:
            if shape.taps == 1:
                return T.cast(source.load(b, t, i, 1), dtype)
            step = t + i // shape.channels - shape.padding
            value = T.cast(source.load(b, step, i % shape.channels, 1), dtype)
            if not shape.padding:
                return value
            return T.if_then_else(T.And(step >= 0, step < shape.steps), value, T.cast(0, dtype))

        emit_product(
            ProductShape(shape.batch, shape.out_steps, shape.outputs, depth),
            x,
            lambda _, i, n: T.cast(weights(0, i, n), dtype),
            lambda b, t, n, value: writer.write(b, t, n, 1, value),
            dtype=dtype,
        )
    return KernelForm(k.func)


class _Product:
    """The code of one product: full blocks of columns, and a narrower one with taller tiles."""

    def __init__(
        self, x: View, w: Any, writer: Writer, shape: GemmShape, tile: Tile, isa: Isa
    ) -> None:
        self._x, self._w, self._writer = x, w, writer
        self._shape, self._tile, self._isa = shape, tile, isa
        blocks = -(-shape.outputs // tile.columns)
        self._tail = shape.outputs - (blocks - 1) * tile.columns
        self._full = blocks if self._tail == tile.columns else blocks - 1
        self._segments = row_tiles(shape.out_steps, tile.rows)
        self._grid = plan_grid(shape, blocks, -(-shape.most_steps // tile.rows))
        self._ahead = 0 if self._grid.rows_first else lines_ahead(shape, tile, isa)

    def emit(self) -> None:
        """Emit it."""
        self._grid.run(self._work)

    def _work(self, block: Any, group: Any) -> None:
        if self._full == self._grid.blocks:
            self._columns(block, group, self._tile.columns)
        elif self._full == 0:
            self._columns(block, group, self._tail)
        else:
            with T.If(block < self._full):
                with T.Then():
                    self._columns(block, group, self._tile.columns)
                with T.Else():
                    self._columns(self._full, group, self._tail)

    def _columns(self, block: Any, group: Any, width: int) -> None:
        """Row tiles of ``group`` of one block: its weights stay in the second-level cache."""
        segments = self._segments
        if width < self._tile.columns and self._tile.rows >= 4:
            vectors = len(simd.vectors(width, self._isa.lanes))
            segments = row_tiles(self._shape.out_steps, tallest(vectors, self._isa))
        with T.serial(0, self._shape.batch) as b:
            for_tiles(
                segments,
                group,
                self._grid.groups,
                lambda t, rows: self._tile_of(b, t, rows, block, width),
            )

    def _tile_of(self, b: Any, t: Any, rows: int, block: Any, width: int) -> None:
        """One tile of ``rows`` rows from ``t``, ``width`` columns of ``block``."""
        lanes, shape = self._isa.lanes, self._shape
        acc = simd.Accumulators(rows, self._computed(width), lanes)
        acc.fill(lambda _, vec: simd.zeros(vec[1]))
        # behind its own share of the next block's lines a tile asks for some of the next tile's
        next_tile = -(-4 * rows * shape.channels // LINE_BYTES)  # cache lines of its x
        ahead = min(max(rows * self._ahead, next_tile), shape.channels) if self._ahead else 0

        def add(tap: Any, first: int, count: int) -> None:
            def load_x(r: int, c: Any, depth: int) -> Any:
                return self._x.load(b, t + r + tap, first + c, depth)

            def load_w(c: Any, offset: int, size: int) -> Any:
                row = tap * shape.channels + first + c
                return simd.load(self._w, [block, row], offset, size)

            def before(c: Any) -> None:
                self._prefetch(block, t * self._ahead + c)
                self._x.prefetch(b, t + rows, c * (LINE_BYTES // 4))

            if self._isa.product == "float16":
                accumulate_half(acc, count, self._tile.depth, load_x, load_w, self._isa)
            else:
                fetch = before if first < ahead else None
                accumulate(acc, count, self._tile.depth, load_x, load_w, self._isa, fetch)

        with T.serial(0, shape.taps) as tap:
            if ahead:
                add(tap, 0, ahead)
            if ahead < shape.channels:
                add(tap, ahead, shape.channels - ahead)
        start = block * self._tile.columns
        for r in range(rows):
            for offset, size in simd.vectors(width, lanes):
                value = acc.part(r, offset, size)
                self._writer.write(b, t + r, start + offset, size, value)

    def _computed(self, width: int) -> int:
        """Columns computed for ``width`` of a block: weights are padded to whole blocks.

        With AVX-512 half a vector behind whole ones takes twice as long as a whole one (measured).
        """
        lanes = self._isa.lanes
        whole = self._isa.name == "avx512" and width < self._tile.columns
        return (simd.padded if whole else padded)(width, lanes)

    def _prefetch(self, block: Any, line: Any) -> None:
        """Have cache line ``line`` of the weights of the next block fetched."""
        columns, floats = self._tile.columns, LINE_BYTES // 4
        row, column = line * floats // columns, line * floats % columns
        simd.prefetch(self._w, [block + 1, row, column])
