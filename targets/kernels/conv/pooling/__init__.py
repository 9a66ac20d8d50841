"""Largest value or mean under a window, channels last; loops and floor: `window`.

Padding is −∞ to a maximum. To a mean it is zero and counts as an input if ``count_padding``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.conv.flat import Flat
from millijoule.targets.kernels.conv.shape import Axis, ConvShape
from millijoule.targets.kernels.conv.tiles import tap_bounds
from millijoule.targets.kernels.conv.window import Tile, for_tiles
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.target import Isa


@dataclass(frozen=True)
class Pooling:
    """``op`` is "max" or "mean". ``padding``: (rows, columns) that the model pads behind the image;
    windows of ``shape`` may reach further (ceil mode), which never counts."""

    shape: ConvShape
    op: str
    count_padding: bool = True
    padding: tuple[int, int] = (0, 0)


def pool_f32(pooling: Pooling, x_type: TensorType, result: TensorType, isa: Isa) -> KernelForm:
    """Kernel over x [B, H, W, C] → y [B, OH, OW, C]."""
    with tir.kernel(f"{pooling.op}_pool_f32_{isa.name}", [x_type], [result]) as k:
        x, y = (Flat(b) for b in k.buffers)
        for_tiles(pooling.shape, x, isa, lambda tile: _tile(tile, pooling, y))
    return KernelForm(k.func)


def _tile(tile: Tile, pooling: Pooling, y: Flat) -> None:
    lanes, shape, vector = tile.lanes, tile.shape, (0, tile.lanes)
    largest = pooling.op == "max"
    start = T.float32("-inf" if largest else 0)
    acc = simd.Accumulators(tile.run.size, lanes, lanes)
    acc.fill(lambda _, vec: simd.splat(start, lanes))

    def visit(x: Any, _: Any, pairs: list[tuple[int, int]]) -> None:
        for _tap, p in pairs:
            old = acc.get(p, vector)
            acc.set(p, vector, T.max(old, x) if largest else old + x)

    tile.visit(visit)
    rows = _count(shape.rows, tile.i, pooling.padding[0], pooling.count_padding)
    for p in tile.results():
        value = acc.get(p, vector)
        if not largest:
            column = tile.run.start + p
            columns = _count(shape.columns, column, pooling.padding[1], pooling.count_padding)
            value = value / simd.splat(T.cast(rows * columns, "float32"), lanes)
        y.save(tile.pixel(p) * shape.channels + tile.channel, lanes, value)


def _count(axis: Axis, position: Any, padding: int, count_padding: bool) -> Any:
    """How many inputs along ``axis`` the mean of result ``position`` is taken over."""
    if isinstance(position, int):
        behind = padding if count_padding else 0
        before = 0 if count_padding else axis.before
        inputs = [axis.source(position, tap) for tap in range(axis.taps)]
        return sum(before - axis.before <= i < axis.size + behind for i in inputs)
    if not count_padding:
        low, high = tap_bounds(axis, position)
        return high - low
    return T.min(axis.taps, axis.size + padding - axis.source(position, 0))
