"""Attention without a matrix of scores in memory.

    y[b, i] = Σ_j p[b, i, j]·v[b, j],   p = softmax_j(scale·q[b, i]·k[b, j] + bias[b, i, j])

A tile of queries (MR rows) meets all keys at once: its scores fill a strip [MR, keys] of scratch
memory that stays in cache, are exponentiated there, and multiplied with the values; the division by
their sum comes last. Keys are transposed beforehand into panels (`panels`), as weights of a GEMM
are at build time; values and queries are read where they lie. Operands and result are flat buffers
with strides, so that neither the slices of a fused projection nor the transposes around the heads
are ever copied.

Floor: keys·(width + value_width) multiply-adds per query over the peak rate of the unit, as in a
packed GEMM, and an exponential per score, which takes about as long as twenty multiply-adds.
Measured on one core of a Zen 5: three heads of 197 queries and keys, 64 wide, in 140 µs, of which
products alone would take 112.

Every score is one chain in ascending d; maximum and sum of a row go lane by lane over ascending
keys, then over the lanes; every result is one chain in ascending keys. None of that depends on how
many queries a tile has or which thread computes it. A row with every key masked by −∞ gives zeros.

Where products are multiplied in float16 (``Isa.in_half``), both are, in blocks as those of a packed
GEMM; scores, softmax and its sum are float32, and the exponentials are rounded to halves as the
second product reads them.
"""

from __future__ import annotations

from collections.abc import Sequence

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.sizes import most
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.attention.panels import pack_keys
from millijoule.targets.kernels.attention.rows import Buffers, Rows
from millijoule.targets.kernels.attention.shape import (
    AttentionShape,
    Strided,
    choose_attention_tile,
)
from millijoule.targets.kernels.form import KernelForm, parallel_chunks
from millijoule.targets.kernels.gemm.grid import count_tiles, row_tiles, tile_of
from millijoule.targets.target import Isa

__all__ = ["AttentionShape", "Strided", "attention_f32"]


def attention_f32(
    shape: AttentionShape,
    views: Sequence[Strided],
    y_view: Strided,
    operands: Sequence[TensorType],
    result: TensorType,
    isa: Isa,
) -> KernelForm:
    """Kernel over flat ``operands``; ``views`` are of q, k, v and, if there is one, the bias.

    Columns of q, k, v and y are neighbours (stride 1); those of the bias may be one value (0).
    ``y_view`` says how the result lies in its buffer of type ``result``.
    """
    tile = choose_attention_tile(shape, isa)
    segments = row_tiles(shape.queries, tile.rows)
    tiles = count_tiles(segments)
    most_tiles = most(shape.heads) * -(-most(shape.queries) // tile.rows)
    chunks = parallel_chunks(most_tiles, shape.multiply_adds)
    blocks = -(-most(shape.keys) // tile.panel)
    panels = TensorType((most(shape.heads), blocks, shape.width, tile.panel), isa.product)
    # behind the scores of all rows lie what their results are multiplied by
    columns = max(blocks, -(-2 * tile.rows // tile.panel)) * tile.panel
    strips = TensorType((chunks, tile.rows + 1, columns), "float32")
    flat = TensorType((result.size,), "float32")
    name = f"attention_{isa.product.replace('loat', '')}_{tile.rows}x{tile.panel}_{isa.name}"
    powers = () if isa.product == "float32" else (TensorType(strips.shape, isa.product),)
    with tir.kernel(name, operands, [flat, panels, strips, *powers]) as k:
        q, keys, v, *bias = (k.buffers[view.operand] for view in views)
        y, panel_buffer, strip_buffer, *power_buffer = k.buffers[len(operands) :]
        loop = T.parallel if chunks > 1 else T.serial
        pack_keys(keys, views[1], panel_buffer, shape, tile, loop)
        buffers = Buffers(
            q,
            views[0],
            v,
            views[2],
            bias[0] if bias else None,
            views[3] if bias else None,
            panel_buffer,
            strip_buffer,
            power_buffer[0] if power_buffer else strip_buffer,
            y,
            y_view,
        )
        rows = Rows(buffers, shape, tile, isa)
        work = shape.heads * tiles
        with (
            loop(0, chunks) as chunk,
            tir.between(*simd.part_of(work, chunk, chunks)) as item,
        ):
            head = item // tiles
            tile_of(
                segments,
                item % tiles,
                lambda first, count: rows.emit(chunk, head, first, count),
            )
    return KernelForm(k.func, (panels, strips, *powers))
