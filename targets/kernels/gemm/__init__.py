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
    measured: 128×192×192, 128×256×1024, conv 3×256→256   0.302, 0.301, 0.300
    one row: fmla and the weights, each used once         (16 + 8 w pairs)/64            = 0.375
    measured: 1×256×256                                   0.397

32-bit NEON cannot take one lane (`vfma` wants whole registers) and has half the registers: every
value of x costs a broadcasting load, and a 5×8 tile measures 0.56 and 0.57.

Every result is one chain of multiply-adds in ascending k, whatever the tile, so a stream (one row)
and a whole sequence give the same bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.epilogue import Step
from millijoule.targets.kernels.form import KernelForm, parallel_chunks
from millijoule.targets.kernels.gemm.rows import View, Writer, copy_padded
from millijoule.targets.kernels.gemm.tile import GemmShape, Tile, choose_tile, pack_weights
from millijoule.targets.target import Isa

__all__ = ["GemmShape", "Tile", "choose_tile", "gemm_f32", "pack_weights"]


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
    tile = choose_tile(shape, isa)
    padded = (shape.batch, shape.steps + 2 * shape.padding, shape.channels)
    scratch = (TensorType(padded, "float32"),) if shape.padding else ()
    name = f"gemm_f32_{tile.rows}x{tile.columns}_{isa.name}"
    with tir.kernel(name, [x_type, packed, *extra], [result, *scratch]) as k:
        x, w = k.buffers[:2]
        y = k.buffers[2 + len(extra)]
        source = View(x, (shape.batch, shape.steps, shape.channels))
        if shape.padding:
            target = View(k.buffers[-1], padded)
            copy_padded(source, target, shape, isa)
            source = target
        writer = Writer(
            View(y, (shape.batch, shape.out_steps, shape.outputs)),
            [View(b, (shape.batch, shape.out_steps, shape.outputs)) for b in k.buffers[2:]],
            k.buffers[2 : 2 + len(extra)],
            steps,
        )
        blocks, _, width = packed.shape
        tail = shape.outputs - (blocks - 1) * width
        full = blocks if tail == width else blocks - 1
        parallel = parallel_chunks(blocks, shape.multiply_adds) > 1
        if full:
            with (T.parallel if parallel else T.serial)(0, full) as block:
                _column_block(source, w, writer, shape, tile, block, block * width, width, isa)
        if full < blocks:
            start = full * width
            _column_block(source, w, writer, shape, tile, full, start, tail, isa)
    return KernelForm(k.func, scratch)


def _lane(values: Any, index: int, lanes: int) -> Any:
    """Element ``index`` of a vector; on NEON it becomes an operand of the multiply-add itself."""
    return values if lanes == 1 else T.Shuffle([values], [index])


def _column_block(
    x: View,
    w: Any,
    writer: Writer,
    shape: GemmShape,
    tile: Tile,
    block: Any,
    start: Any,
    width: int,
    isa: Isa,
) -> None:
    """All rows of one block of columns: the weights of the block stay in the second-level cache."""

    def rows(t: Any, count: int) -> None:
        acc = simd.Accumulators(count, width, isa.lanes)
        acc.fill(lambda _, vec: simd.zeros(vec[1]))
        with T.serial(0, shape.taps) as tap:

            def chain(c: Any, depth: int) -> None:
                """Multiply-adds of ``depth`` neighbouring channels, one after the other."""
                for k, vec in itertools.product(range(depth), acc.vectors):
                    weight = simd.load(w, [block, tap * shape.channels + c + k], vec[0], vec[1])
                    for r in range(count):
                        values = x.load(b, t + r + tap, c, depth)
                        value = simd.splat(_lane(values, k, depth), vec[1])
                        acc.set(r, vec, simd.fma(value, weight, acc.get(r, vec), vec[1], isa))

            simd.for_blocks(shape.channels, tile.depth, chain)
        for r in range(count):
            for vec in acc.vectors:
                writer.write(b, t + r, start + vec[0], vec[1], acc.get(r, vec))

    with T.serial(0, shape.batch) as b:
        simd.for_blocks(shape.out_steps, tile.rows, rows)
