"""Keys transposed into panels: lanes are keys, so that scores come in vectors.

    panel[head, block, d, key] = k[head, block·NR + key, d]

Squares of lanes × lanes values are transposed in registers, in log₂(lanes) steps of two-register
shuffles: lanes·log₂(lanes) shuffles for lanes² values. The last block repeats the last key; what
reads its scores masks them.
"""

from __future__ import annotations

from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.attention.shape import AttentionShape, AttentionTile, Strided


def pack_keys(
    keys: Any, view: Strided, panels: Any, shape: AttentionShape, tile: AttentionTile, loop: Any
) -> None:
    """Fill ``panels`` [heads, blocks, width, NR] from the flat buffer ``keys``."""
    blocks, dtype = simd.ceil_div(shape.keys, tile.panel), tile.dtype
    lanes, width = tile.lanes, shape.width
    square_wise = lanes > 1 and view.strides[-1] == 1
    squares, rest = divmod(width, lanes) if square_wise else (0, width)
    with loop(0, shape.heads * blocks) as index:
        head, block = index // blocks, index % blocks
        batch = shape.unravel(head)

        def start(key: Any) -> Any:
            return view.start(batch, T.min(block * tile.panel + key, shape.keys - 1))

        if squares:
            with T.serial(0, tile.vectors) as vector, T.serial(0, squares) as square:
                rows = [
                    simd.convert(
                        simd.load(keys, [], start(vector * lanes + i) + square * lanes, lanes),
                        dtype,
                        lanes,
                    )
                    for i in range(lanes)
                ]
                for i, column in enumerate(_transposed(rows, lanes, dtype)):
                    row = [head, block, square * lanes + i]
                    simd.save(panels, row, vector * lanes, lanes, column)
        if rest:
            with T.serial(0, tile.panel) as key, tir.between(width - rest, width) as d:
                value = T.cast(keys[start(key) + d * view.strides[-1]], dtype)
                tir.store(panels, [head, block, d, key], value)


def _transposed(rows: list[Any], lanes: int, dtype: str) -> list[Any]:
    """Columns of a square matrix given as vectors: log₂ perfect shuffles of its rows."""
    half = lanes // 2
    low = [lane for j in range(half) for lane in (j, lanes + j)]
    high = [lane for j in range(half, lanes) for lane in (j, lanes + j)]
    now = _kept(rows, lanes, dtype)
    for _ in range(lanes.bit_length() - 1):
        mixed: list[Any] = []
        for i in range(half):
            pair = [now[i], now[i + half]]
            mixed += [T.Shuffle(pair, low), T.Shuffle(pair, high)]
        now = _kept(mixed, lanes, dtype)
    return now


def _kept(values: list[Any], lanes: int, dtype: str) -> list[Any]:
    """The vectors in registers: an expression used twice would be computed twice."""
    registers = [T.alloc_buffer((lanes,), dtype) for _ in values]
    for register, value in zip(registers, values, strict=True):
        simd.save(register, [], 0, lanes, value)
    return [simd.load(register, [], 0, lanes) for register in registers]
