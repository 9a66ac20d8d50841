"""Depthwise and finely grouped convolution, channels last, with its elementwise epilogue.

    y[b, i, j, o] = epilogue( Σ_{h, v, k} x[b, i·s + h·d − p, j·s + v·d − p, ⌊o/g⌋·g + k]
                                          · w[o, k, h, v] )

A vector of channels covers whole groups of g channels. With g = 1 it is multiplied as it is; with
g = 2, 4, … channel k of every group is first spread over the group's lanes, a shuffle in registers.
Weights are packed as [KH, KW, g, C]. Loops and floor: `window`.

Every result is one chain of multiply-adds in ascending (h, v, k).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.conv.depthwise.gpu import emit_depthwise
from millijoule.targets.kernels.conv.flat import Flat, PixelWriter
from millijoule.targets.kernels.conv.shape import ConvShape
from millijoule.targets.kernels.conv.window import Tile, for_tiles
from millijoule.targets.kernels.epilogue import Step
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.target import Isa

__all__ = ["depthwise_f32", "pack_depthwise", "takes"]


def takes(shape: ConvShape, isa: Isa) -> bool:
    """Whether a vector of channels covers several groups, each as wide in as out."""
    width = shape.group_channels
    alone = width > 1 and width >= isa.lanes
    return width == shape.group_outputs and isa.lanes % width == 0 and not alone


def pack_depthwise(w: np.ndarray) -> np.ndarray:
    """[C, g, KH, KW] → [KH, KW, g, C]."""
    return np.ascontiguousarray(w.transpose(2, 3, 1, 0))


def depthwise_f32(
    shape: ConvShape,
    x_type: TensorType,
    packed: TensorType,
    extra: Sequence[TensorType],
    result: TensorType,
    steps: Sequence[Step],
    isa: Isa,
) -> KernelForm:
    """Kernel over (x [B, H, W, C], packed weights, epilogue operands…) → y [B, OH, OW, C]."""
    name = f"depthwise_f32_{shape.rows.taps}x{shape.columns.taps}_{isa.name}"
    with tir.kernel(name, [x_type, packed, *extra], [result]) as k:
        operands = k.buffers[2 : 2 + len(extra)]
        writer = PixelWriter(k.buffers[2 + len(extra)], operands, steps, shape.outputs)
        w = Flat(k.buffers[1])
        if isa.gpu:
            emit_depthwise(shape, Flat(k.buffers[0]), w, writer)
        else:
            for_tiles(shape, Flat(k.buffers[0]), isa, lambda tile: _tile(tile, w, writer, isa))
    return KernelForm(k.func)


def _tile(tile: Tile, w: Flat, writer: PixelWriter, isa: Isa) -> None:
    shape, lanes = tile.shape, tile.lanes
    width = shape.group_channels
    acc = simd.Accumulators(tile.run.size, lanes, lanes)
    acc.fill(lambda _, vec: simd.zeros(vec[1]))
    vector = (0, lanes)

    def visit(x: Any, h: Any, pairs: list[tuple[int, int]]) -> None:
        for tap, p in pairs:
            for k in range(width):
                row = ((h * shape.columns.taps + tap) * width + k) * shape.outputs
                weight = w.load(row + tile.channel, lanes)
                value = simd.fma(
                    _spread(x, k, width, lanes), weight, acc.get(p, vector), lanes, isa
                )
                acc.set(p, vector, value)

    tile.visit(visit)
    for p in tile.results():
        writer.write(tile.pixel(p), tile.channel, lanes, acc.get(p, vector))


def _spread(x: Any, k: int, width: int, lanes: int) -> Any:
    """Channel ``k`` of every group of ``width`` lanes in all lanes of its group."""
    if width == 1:
        return x
    return T.Shuffle([x], [lane // width * width + k for lane in range(lanes)])
