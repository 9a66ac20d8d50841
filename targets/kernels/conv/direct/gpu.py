"""Convolution on a GPU as a product: rows are pixels, k runs over taps and channels of one group.

The matrix of pixels exists only in shared memory, a tile at a time; what lies outside of the image
is zero as it is loaded. Floor and tiles are those of `gemm.gpu`.
"""

from __future__ import annotations

from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels.conv.flat import Flat, PixelWriter
from millijoule.targets.kernels.conv.shape import ConvShape
from millijoule.targets.kernels.gemm.gpu import ProductShape, emit_product, panels
from millijoule.targets.kernels.threads import ceil_div


def emit_conv(shape: ConvShape, x: Flat, w: Any, writer: PixelWriter, *, planar: bool) -> None:
    """One launch; ``w`` is packed as for CPUs, [groups · panels, KH · KW · channels, NR]."""
    weights, blocks = panels(w), ceil_div(shape.group_outputs, int(w.shape[2]))

    def load(group: Any, pixel: Any, k: Any) -> Any:
        c, tap = k % shape.group_channels, k // shape.group_channels
        j, i = pixel % shape.columns.out, pixel // shape.columns.out % shape.rows.out
        b = pixel // (shape.columns.out * shape.rows.out)
        row = shape.rows.source(i, tap // shape.columns.taps)
        column = shape.columns.source(j, tap % shape.columns.taps)
        channel = group * shape.group_channels + c
        if planar:
            plane = (b * shape.channels + channel) * shape.rows.size
            at = (plane + row) * shape.columns.size + column
        else:
            at = (b * shape.rows.size + row) * shape.columns.size + column
            at = at * shape.channels + channel
        value, inside = x.load(at, 1), _inside(shape, row, column)
        return value if inside is None else T.if_then_else(inside, value, T.float32(0))

    emit_product(
        ProductShape(shape.groups, shape.pixels, shape.group_outputs, shape.depth),
        load,
        lambda group, k, n: weights(group * blocks, k, n),
        lambda group, pixel, n, value: writer.write(
            pixel, group * shape.group_outputs + n, 1, value
        ),
    )


def _inside(shape: ConvShape, row: Any, column: Any) -> Any:
    """Whether a pixel of x exists; None if all that are read do."""
    tests: list[Any] = []
    for axis, at in ((shape.rows, row), (shape.columns, column)):
        if not (axis.inside(0) and axis.inside(axis.out - 1)):
            tests += [at >= 0, at < axis.size]
    condition = None
    for test in tests:
        condition = test if condition is None else T.And(condition, test)
    return condition
