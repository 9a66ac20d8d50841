"""Packed GEMM for linear layers and convolutions along time, with its elementwise epilogue.

    y[b, t, n] = epilogue( Σ_{tap, c} x[b, t + tap − padding, c] · w[tap, c, n] )

A linear layer has one tap. Channels-last rows of neighbouring steps lie side by side, so that a
convolution needs no im2col: only its zero padding is copied, into planned scratch memory.

Weights are packed at build time as [N/NR, K, NR] (`pack_weights`): one tile reads them as one
contiguous stream. A tile holds MR×NR results in registers, for every k loads NR/lanes vectors of w
and MR broadcast values of x, and does MR·NR/lanes multiply-adds. Floor: multiply-adds over the FMA
peak for many rows (MR ≥ 4); bytes of the weights over cache bandwidth for one row.

Every result is one chain of multiply-adds in ascending k, whatever the tile, so a stream (one row)
and a whole sequence give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.epilogue import Step, apply
from millijoule.targets.kernels.form import KernelForm, parallel_chunks
from millijoule.targets.target import Isa


@dataclass(frozen=True)
class Tile:
    """MR rows × NR columns of results in registers."""

    rows: int
    columns: int


@dataclass(frozen=True)
class GemmShape:
    """``steps`` counts input steps; a matrix product has batch 1, one tap, no padding."""

    batch: int
    steps: int
    channels: int
    outputs: int
    taps: int = 1
    padding: int = 0

    @property
    def out_steps(self) -> int:
        """Rows of the result per batch element."""
        return self.steps + 2 * self.padding - self.taps + 1

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds, padding counted as computed."""
        return self.batch * self.out_steps * self.taps * self.channels * self.outputs


def choose_tile(shape: GemmShape, isa: Isa) -> Tile:
    """Tile for ``shape``: fill the registers; one row takes as many columns as hide FMA latency.

    NR·MR/lanes accumulators + NR/lanes weights + 1 broadcast fit in the register file.
    """
    if shape.out_steps < 4:
        wide = isa.registers // 2
        return Tile(shape.out_steps, isa.lanes * max(1, wide // shape.out_steps))
    vectors = 4 if isa.registers >= 32 else 2
    most = min(6, (isa.registers - 1) // vectors - 1)
    rows = next((r for r in range(most, 3, -1) if shape.out_steps % r == 0), most)
    return Tile(rows, vectors * isa.lanes)


def pack_weights(w: np.ndarray, tile: Tile) -> np.ndarray:
    """[K, N] → [⌈N/NR⌉, K, NR], zero-padded; NR shrinks to N for narrow layers."""
    depth, outputs = w.shape
    width = min(tile.columns, outputs)
    blocks = -(-outputs // width)
    padded = np.zeros((depth, blocks * width), w.dtype)
    padded[:, :outputs] = w
    return np.ascontiguousarray(padded.reshape(depth, blocks, width).transpose(1, 0, 2))


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
        source = _View(x, (shape.batch, shape.steps, shape.channels))
        if shape.padding:
            target = _View(k.buffers[-1], padded)
            _copy_padded(source, target, shape, isa)
            source = target
        writer = _Writer(
            _View(y, (shape.batch, shape.out_steps, shape.outputs)),
            [_View(b, (shape.batch, shape.out_steps, shape.outputs)) for b in k.buffers[2:]],
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


class _View:
    """A row-major buffer seen as [batch, step, column]."""

    def __init__(self, buffer: Any, shape: tuple[int, int, int]) -> None:
        self._buffer, self._shape = buffer, shape
        self._extents = [int(d) for d in buffer.shape]

    def index(self, b: Any, t: Any, column: Any) -> list[Any]:
        """Buffer index of one element; the last dimension is the column when ranks differ."""
        if tuple(self._extents) == self._shape:
            return [b, t, column]
        row, index = b * self._shape[1] + t, [column]
        for extent in reversed(self._extents[:-1]):
            index.insert(0, row % extent)
            row = row // extent
        return index

    def load(self, b: Any, t: Any, column: Any, lanes: int) -> Any:
        """``lanes`` columns from ``column``."""
        *outer, inner = self.index(b, t, column)
        return simd.load(self._buffer, outer, inner, lanes)

    def save(self, b: Any, t: Any, column: Any, lanes: int, value: Any) -> None:
        """Store ``lanes`` columns from ``column``."""
        *outer, inner = self.index(b, t, column)
        simd.save(self._buffer, outer, inner, lanes, value)


class _Writer:
    """Applies the epilogue and stores."""

    def __init__(
        self, y: _View, full: Sequence[_View], raw: Sequence[Any], steps: Sequence[Step]
    ) -> None:
        self._y, self._full, self._raw, self._steps = y, full, raw, steps

    def write(self, b: Any, t: Any, column: Any, lanes: int, value: Any) -> None:
        """Finish ``lanes`` results from ``column`` of row (b, t)."""

        def operand(step: Step) -> Any:
            assert step.operand is not None
            raw = self._raw[step.operand]
            zero = [0] * (len(raw.shape) - 1)
            if step.spread == "full":
                return self._full[step.operand].load(b, t, column, lanes)
            if step.spread == "column":
                return simd.load(raw, zero, column, lanes)
            return simd.splat(raw[tuple([*zero, 0][: len(raw.shape)])], lanes)

        self._y.save(b, t, column, lanes, apply(self._steps, value, lanes, operand))


def _copy_padded(source: _View, destination: _View, shape: GemmShape, isa: Isa) -> None:
    """Copy x between two borders of zero steps."""
    with T.serial(0, shape.batch) as b:

        def border(t: Any) -> None:
            simd.for_blocks(
                shape.channels,
                isa.lanes,
                lambda c, lanes: destination.save(b, t, c, lanes, simd.zeros(lanes)),
            )

        with T.serial(0, shape.padding) as p:
            border(p)
            border(p + shape.steps + shape.padding)
        with T.serial(0, shape.steps) as t:
            simd.for_blocks(
                shape.channels,
                isa.lanes,
                lambda c, lanes: destination.save(
                    b, t + shape.padding, c, lanes, source.load(b, t, c, lanes)
                ),
            )


def _column_block(
    x: _View,
    w: Any,
    writer: _Writer,
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
        with T.serial(0, shape.taps) as tap, T.serial(0, shape.channels) as c:
            depth = tap * shape.channels + c
            for vec in acc.vectors:
                weight = simd.load(w, [block, depth], vec[0], vec[1])
                for r in range(count):
                    value = simd.splat(x.load(b, t + r + tap, c, 1), vec[1])
                    acc.set(r, vec, simd.fma(value, weight, acc.get(r, vec), vec[1]))
        for r in range(count):
            for vec in acc.vectors:
                writer.write(b, t + r, start + vec[0], vec[1], acc.get(r, vec))

    with T.serial(0, shape.batch) as b:
        simd.for_blocks(shape.out_steps, tile.rows, rows)
