"""Products of two computed matrices, for every index of their batch dimensions.

    y[b, m, n] = Σ_k x[b, m, k]·w[b, k, n]

Operands are flat buffers with strides. Where the columns of w lie side by side they are read in
place; where its rows do (w is a transpose), they are packed into panels first, as keys of attention
are. A panel of columns stays in the first-level cache while all rows pass. Floor and order of sums
are those of the packed GEMM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.attention.panels import pack_keys
from millijoule.targets.kernels.attention.shape import (
    AttentionShape,
    AttentionTile,
    Strided,
    choose_attention_tile,
)
from millijoule.targets.kernels.form import KernelForm, parallel_chunks
from millijoule.targets.kernels.gemm.chains import accumulate
from millijoule.targets.kernels.gemm.gpu import Load, ProductShape, emit_product
from millijoule.targets.kernels.gemm.grid import count_tiles, row_tiles, tile_of
from millijoule.targets.target import Isa


def batched_f32(
    batch: tuple[int, ...],
    sizes: tuple[int, int, int],
    views: Sequence[Strided],
    y_view: Strided,
    operands: Sequence[TensorType],
    isa: Isa,
) -> KernelForm:
    """Kernel over flat ``operands`` → flat y; ``sizes`` are M, N, K, ``views`` those of x and w."""
    m, n, k = sizes
    shape = AttentionShape(batch, m, n, k, 0, 1.0)  # rows of wᵀ are its keys
    if isa.gpu:
        return _on_gpu(shape, views, y_view, operands)
    tile = choose_attention_tile(shape, isa)
    packed = TensorType((shape.heads, -(-n // tile.panel), k, tile.panel), "float32").largest
    scratch = (packed,) if views[1].strides[-1] != 1 and n > 1 else ()
    y_type = TensorType((shape.heads * m * n,), "float32")
    name = f"batched_f32_{tile.rows}x{tile.panel}_{isa.name}"
    with tir.kernel(name, operands, [y_type, *scratch]) as kernel:
        x, w = (kernel.buffers[view.operand] for view in views)
        y = kernel.buffers[len(operands)]
        panel_buffer = kernel.buffers[-1] if scratch else None
        code = _Tiles(x, w, y, panel_buffer, (*views, y_view), shape, tile, isa)
        code.emit()
    return KernelForm(kernel.func, scratch)


class _Tiles:
    """The code of one kernel; ``panels``: w packed, or None where it is read in place."""

    def __init__(
        self,
        x: Any,
        w: Any,
        y: Any,
        panels: Any,
        views: tuple[Strided, ...],
        shape: AttentionShape,
        tile: AttentionTile,
        isa: Isa,
    ) -> None:
        self._x, self._w, self._y, self._panels = x, w, y, panels
        self._x_view, self._w_view, self._y_view = views
        self._shape, self._tile, self._isa = shape, tile, isa
        self._blocks, self._rest = -(-shape.keys // tile.panel), shape.keys % tile.panel

    def emit(self) -> None:
        """All tiles, the rows of a block of columns one after the other."""
        shape, blocks = self._shape, self._blocks
        segments = row_tiles(shape.queries, self._tile.rows)
        tiles = count_tiles(segments)
        work = shape.heads * blocks * tiles
        chunks = parallel_chunks(work, shape.multiply_adds)
        loop = T.parallel if chunks > 1 else T.serial
        if self._panels is not None:
            *outer, row, column = self._w_view.strides
            turned = replace(self._w_view, strides=(*outer, column, row))
            pack_keys(self._w, turned, self._panels, shape, self._tile, loop)
        with (
            loop(0, chunks) as chunk,
            tir.between(*simd.part_of(work, chunk, chunks)) as item,
        ):
            head, block = item // (blocks * tiles), item // tiles % blocks
            tile_of(
                segments,
                item % tiles,
                lambda first, rows: self._columns(head, block, first, rows),
            )

    def _columns(self, head: Any, block: Any, first: Any, rows: int) -> None:
        last = self._blocks - 1
        if not self._rest or last == 0:
            self._one(head, block, first, rows, self._rest or self._tile.panel)
            return
        with T.If(block < last):
            with T.Then():
                self._one(head, block, first, rows, self._tile.panel)
            with T.Else():
                self._one(head, last, first, rows, self._rest)

    def _one(self, head: Any, block: Any, first: Any, rows: int, width: int) -> None:
        """``rows`` rows from ``first``, ``width`` columns of ``block``."""
        at, start = self._shape.unravel(head), block * self._tile.panel
        x_view = self._x_view
        acc = simd.Accumulators(rows, width, self._isa.lanes)
        acc.fill(lambda _, vec: simd.zeros(vec[1]))

        def load_x(row: int, k: Any, lanes: int) -> Any:
            index = x_view.start(at, first + row) + k * x_view.strides[-1]
            return simd.load(self._x, [], index, lanes)

        def load_w(k: Any, offset: int, lanes: int) -> Any:
            if self._panels is not None:
                return simd.load(self._panels, [head, block, k], offset, lanes)
            return simd.load(self._w, [], self._w_view.start(at, k) + start + offset, lanes)

        depth = self._tile.depth if x_view.strides[-1] == 1 else 1
        accumulate(acc, self._shape.width, depth, load_x, load_w, self._isa)
        for row in range(rows):
            for vec in acc.vectors:
                index = self._y_view.start(at, first + row) + start + vec[0]
                simd.save(self._y, [], index, vec[1], acc.get(row, vec))


def _on_gpu(
    shape: AttentionShape,
    views: Sequence[Strided],
    y_view: Strided,
    operands: Sequence[TensorType],
) -> KernelForm:
    m, n, k = shape.queries, shape.keys, shape.width
    y_type = TensorType((shape.heads * m * n,), "float32")
    with tir.kernel("batched_f32_gpu", operands, [y_type]) as kernel:
        buffers = [kernel.buffers[view.operand] for view in views]

        def load(which: int) -> Load:
            view, buffer = views[which], buffers[which]

            def element(b: Any, row: Any, column: Any) -> Any:
                return buffer[view.start(shape.unravel(b), row) + column * view.strides[-1]]

            return element

        def finish(b: Any, row: Any, column: Any, value: Any) -> None:
            where = y_view.start(shape.unravel(b), row) + column * y_view.strides[-1]
            tir.store(kernel.buffers[-1], [where], value)

        emit_product(
            ProductShape(shape.heads, m, n, k),
            load(0),
            load(1),
            finish,
            rows_of_w=views[1].strides[-2] == 1,
        )
    return KernelForm(kernel.func)
