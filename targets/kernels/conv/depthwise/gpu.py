"""Depthwise convolution on a GPU: a thread is one result, neighbours are neighbouring channels.

Floor: x read and y written once over the bandwidth of memory (204.8 GB/s on Orin); the taps of
neighbouring pixels come from the caches.
"""

from __future__ import annotations

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels.conv.flat import Flat, PixelWriter
from millijoule.targets.kernels.conv.shape import ConvShape
from millijoule.targets.kernels.threads import Registers, ceil_div, fma, launch, when

THREADS = 128


def emit_depthwise(shape: ConvShape, x: Flat, w: Flat, writer: PixelWriter) -> None:
    """One launch; every result is one chain of multiply-adds in ascending (row, column) of taps."""
    total = shape.pixels * shape.channels
    rows, columns = shape.rows, shape.columns
    with launch([ceil_div(total, THREADS)], [THREADS]) as ((block,), (me,)):
        at = block * THREADS + me
        with when(at < total if total % THREADS else True):
            c, pixel = at % shape.channels, at // shape.channels
            j, i = pixel % columns.out, pixel // columns.out % rows.out
            b, acc = pixel // (columns.out * rows.out), Registers(1, "float32")
            acc[0] = T.float32(0)
            with T.serial(0, rows.taps) as h, T.serial(0, columns.taps) as v:
                row, column = rows.source(i, h), columns.source(j, v)
                inside = T.And(
                    T.And(row >= 0, row < rows.size), T.And(column >= 0, column < columns.size)
                )
                with T.If(inside), T.Then():
                    source = ((b * rows.size + row) * columns.size + column) * shape.channels + c
                    weight = w.load((h * columns.taps + v) * shape.channels + c, 1)
                    acc[0] = fma(x.load(source, 1), weight, acc[0])
            writer.write(pixel, c, 1, acc[0])
