"""Packed GEMM of int8: `gemm_f32` with int8 operands and exact int32 sums.

    y[b, t, n] = epilogue( Σ_{tap, c} x[b, t + tap − padding, c] · w[tap, c, n] )

The epilogue may convert to float32 (``relax.astype``) and go on from there, or return int32. One
row of results at a time, or some where a unit has the registers, for a block of columns; `units`
says how each instruction set multiplies and adds bytes, how it wants the weights laid out, and its
floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.epilogue import Step
from millijoule.targets.kernels.form import KernelForm, parallel_chunks
from millijoule.targets.kernels.gemm import product_on_gpu
from millijoule.targets.kernels.gemm.rows import View, Writer, copy_padded
from millijoule.targets.kernels.gemm.tile import GemmShape
from millijoule.targets.kernels.gemm_s8.units import Unit, unit_of
from millijoule.targets.target import Isa

__all__ = ["gemm_s8", "unit_of"]


def gemm_s8(
    shape: GemmShape,
    x_type: TensorType,
    packed: TensorType,
    extra: Sequence[TensorType],
    result: TensorType,
    steps: Sequence[Step],
    isa: Isa,
) -> KernelForm:
    """Kernel over (x int8, weights of ``unit_of(isa).pack``, epilogue operands…) → y."""
    if isa.gpu:
        return product_on_gpu(shape, x_type, packed, extra, result, steps)
    unit = unit_of(isa)
    padded = (shape.batch, shape.steps + 2 * shape.padding, shape.channels)
    scratch = (TensorType(padded, "int8"),) if shape.padding else ()
    with tir.kernel(f"gemm_s8_{unit.name}", [x_type, packed, *extra], [result, *scratch]) as k:
        x, w = k.buffers[:2]
        source = View(x, (shape.batch, shape.steps, shape.channels))
        if shape.padding:
            target = View(k.buffers[-1], padded)
            copy_padded(source, target, shape, isa, "int8")
            source = target
        full = (shape.batch, shape.out_steps, shape.outputs)
        writer = Writer(
            View(k.buffers[2 + len(extra)], full),
            [View(b, full) for b in k.buffers[2:]],
            k.buffers[2 : 2 + len(extra)],
            steps,
        )
        blocks = -(-shape.outputs // unit.columns)
        parallel = parallel_chunks(blocks, shape.multiply_adds // 4) > 1  # four in a lane

        def columns(start: Any, width: int) -> None:
            with T.serial(0, shape.batch) as b:
                simd.for_blocks(
                    shape.out_steps,
                    unit.rows,
                    lambda t, rows: _rows(unit, w, start, width, shape, source, writer, b, t, rows),
                )

        simd.for_blocks(shape.outputs, unit.columns, columns, T.parallel if parallel else T.serial)
    return KernelForm(k.func, scratch)


def _rows(
    unit: Unit,
    w: Any,
    start: Any,
    width: int,
    shape: GemmShape,
    source: View,
    writer: Writer,
    b: Any,
    t: Any,
    rows: int,
) -> None:
    """Rows of one block: neighbouring steps lie side by side, so all taps are one long row."""
    depth, channels = shape.taps * shape.channels, shape.channels

    def load(row: int, k: Any, lanes: int) -> Any:
        return source.load(b, t + row + k // channels, k % channels, lanes)

    whole = depth // unit.depth
    blocks = [unit.block(w, start, width, -(-depth // unit.depth)) for _ in range(rows)]
    for first in range(0, whole, unit.longest):
        with T.serial(0, min(unit.longest, whole - first)) as i:
            step = i + first
            for row, block in enumerate(blocks):
                block.add(step, load(row, step * unit.depth, unit.depth))
        for block in blocks:
            block.flush()
    rest = depth - whole * unit.depth
    for row, block in enumerate(blocks):

        def left(i: Any, row: int = row) -> Any:
            return load(row, i + whole * unit.depth, 1)

        if rest:
            block.add_rest(whole, left, rest)
            block.flush()
        for at, lanes in block.vectors:
            writer.write(b, t + row, start + at, lanes, block.value(at, lanes))
