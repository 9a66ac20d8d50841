"""Resizing of images, channels last: nearest pixel or bilinear, from tables made at build time.

    y[b, i, j] = (1 − u)·((1 − v)·x[b, r, q] + v·x[b, r, q'])
               + u·((1 − v)·x[b, r', q] + v·x[b, r', q'])

with (r, r', u) of row i and (q, q', v) of column j. Floor: the bytes of y over the bandwidth of the
cache that holds them; x is read from a nearer one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.conv.flat import Flat
from millijoule.targets.kernels.form import KernelForm, parallel_chunks
from millijoule.targets.target import Isa

_COORDINATES = {
    "half_pixel": lambda o, size, out: (o + 0.5) * size / out - 0.5,
    "align_corners": lambda o, size, out: o * (size - 1) / max(out - 1, 1),
    "asymmetric": lambda o, size, out: o * size / out,
}


@dataclass(frozen=True)
class Table:
    """Per result along one axis: the two inputs it lies between [n, 2] int32, and how near it is to
    the second [n] float32."""

    inputs: np.ndarray
    weights: np.ndarray

    @property
    def nearest(self) -> bool:
        """Whether results are copies of inputs."""
        return not self.weights.any()


def table(size: int, out: int, method: str, coordinates: str, rounding: str) -> Table | None:
    """The table of an axis of ``size`` inputs and ``out`` results, named as Relax names them.

    None for what the kernel does not do, and for results halfway between two pixels of which the
    nearest is wanted.
    """
    if coordinates not in _COORDINATES or method not in ("linear", "nearest_neighbor"):
        return None
    at = _COORDINATES[coordinates](np.arange(out, dtype=np.float64), size, out)
    if method == "nearest_neighbor":
        halfway = np.any(at - np.floor(at) == 0.5)
        if rounding not in ("round", "floor") or (rounding == "round" and halfway):
            return None
        at = np.floor(at + 0.5) if rounding == "round" else np.floor(at)
    at = np.clip(at, 0, size - 1)
    low = np.floor(at).astype(np.int32)
    inputs = np.stack([low, np.minimum(low + 1, size - 1)], axis=1)
    return Table(inputs.astype(np.int32), (at - low).astype(np.float32))


def resize_f32(
    x_type: TensorType, rows: Table, columns: Table, result: TensorType, isa: Isa
) -> KernelForm:
    """Kernel over (x [B, H, W, C], inputs and weights of rows, the same of columns) → y."""
    batch, height, width, channels = x_type.shape
    _, out_height, out_width, _ = result.shape
    tables = [
        TensorType(a.shape, str(a.dtype)) for t in (rows, columns) for a in (t.inputs, t.weights)
    ]
    copies = rows.nearest and columns.nearest
    with tir.kernel(f"resize_f32_{isa.name}", [x_type, *tables], [result]) as k:
        x, y = Flat(k.buffers[0]), Flat(k.buffers[-1])
        row_inputs, row_weights, column_inputs, column_weights = k.buffers[1:5]
        lines = batch * out_height
        parallel = parallel_chunks(lines, 8 * result.size) > 1
        with (T.parallel if parallel else T.serial)(0, lines) as line:
            b, i = line // out_height, line % out_height
            with T.serial(0, out_width) as j:

                def source(r: int, q: int, c: Any, lanes: int) -> Any:
                    row, column = row_inputs[i, r], column_inputs[j, q]
                    return x.load(((b * height + row) * width + column) * channels + c, lanes)

                def mixed(c: Any, lanes: int) -> None:
                    u, v = (simd.splat(w, lanes) for w in (row_weights[i], column_weights[j]))
                    one = simd.splat(T.float32(1), lanes)
                    first, second = (
                        (one - v) * source(r, 0, c, lanes) + v * source(r, 1, c, lanes)
                        for r in (0, 1)
                    )
                    value = (one - u) * first + u * second
                    y.save((line * out_width + j) * channels + c, lanes, value)

                def copied(c: Any, lanes: int) -> None:
                    y.save((line * out_width + j) * channels + c, lanes, source(0, 0, c, lanes))

                simd.for_blocks(channels, isa.lanes, copied if copies else mixed)
    return KernelForm(k.func)
