"""Resizing of images ``[B, C, H, W]``.

Place s of an input that result o stands for, by torch: o·r for the nearest pixel (its floor), and
(o + ½)·r − ½ for bilinear sampling. r is the input's size over the result's; where the caller gave
a factor, r is 1 / factor, though the result's size was rounded. Relax knows only the first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx
from tvm import relax

from millijoule.converters.torch_ops.context import Context, Convert, argument

_op = relax.op


def _sizes(node: Any) -> list[int]:
    """Height and width of a node's value."""
    return [int(d) for d in node.meta["val"].shape[-2:]]


def _nearest(node: fx.Node, context: Context) -> relax.Expr:
    """upsample_nearest2d(x, size, factors)."""
    x, sizes = (
        context.value(node.args[0]),
        list(zip(_sizes(node.args[0]), _sizes(node), strict=True)),
    )
    factors = argument(node, 2, "scale_factors") or (None, None)
    picks = [_picked(*size, factor) for size, factor in zip(sizes, factors, strict=True)]
    plain = [np.arange(out) * size // out for size, out in sizes]
    if all(np.array_equal(a, b) for a, b in zip(picks, plain, strict=True)):
        return context.emit(
            _op.image.resize2d(
                x,
                [out for _, out in sizes],
                layout="NCHW",
                method="nearest_neighbor",
                coordinate_transformation_mode="asymmetric",
                rounding_method="floor",
            )
        )
    for axis, places in zip((2, 3), picks, strict=True):
        x = context.emit(_op.take(x, relax.const(places), axis=axis, mode="clip"))
    return x


def _picked(size: int, out: int, factor: float | None) -> np.ndarray:
    """The input of every result; in float32, as torch computes it."""
    ratio = np.float32(1 / factor) if factor else np.float32(size) / np.float32(out)
    places = np.floor(np.arange(out, dtype=np.float32) * ratio).astype(np.int64)
    return np.minimum(places, size - 1)


def _bilinear(node: fx.Node, context: Context) -> relax.Expr:
    """upsample_bilinear2d(x, size, align_corners, factors)."""
    x, sizes = (
        context.value(node.args[0]),
        list(zip(_sizes(node.args[0]), _sizes(node), strict=True)),
    )
    corners = bool(argument(node, 2, "align_corners", False))
    factors = argument(node, 3, "scale_factors") or (None, None)
    ratios = [
        1 / factor if factor else size / out
        for (size, out), factor in zip(sizes, factors, strict=True)
    ]
    exact = all(
        abs(ratio * out - size) < 1e-6 * size
        for ratio, (size, out) in zip(ratios, sizes, strict=True)
    )
    if corners or exact:
        return context.emit(
            _op.image.resize2d(
                x,
                [out for _, out in sizes],
                layout="NCHW",
                method="linear",
                coordinate_transformation_mode="align_corners" if corners else "half_pixel",
            )
        )
    for axis, ratio, (size, out) in zip((2, 3), ratios, sizes, strict=True):
        x = _mixed(x, axis, ratio, size, out, context)
    return x


def _mixed(
    x: relax.Expr, axis: int, ratio: float, size: int, out: int, context: Context
) -> relax.Expr:
    """Bilinear sampling along one axis: (1 − u)·x[low] + u·x[high]."""
    places = np.clip((np.arange(out) + 0.5) * ratio - 0.5, 0, size - 1)
    low = np.floor(places).astype(np.int64)
    shape = [1, 1, 1, 1]
    shape[axis] = out
    near = (places - low).reshape(shape)
    parts = [
        context.emit(
            _op.multiply(
                _op.take(x, relax.const(index), axis=axis, mode="clip"),
                relax.const(weight.astype(str(x.ty.dtype))),
            )
        )
        for index, weight in ((low, 1 - near), (np.minimum(low + 1, size - 1), near))
    ]
    return context.emit(_op.add(*parts))


CONVERTERS: dict[str, Convert] = {
    "upsample_bilinear2d.vec": _bilinear,
    "upsample_nearest2d.vec": _nearest,
}
