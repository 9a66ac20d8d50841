"""Sums, means, extremes and what is made of them."""

from __future__ import annotations

import numpy as np

from millijoule.converters.ops import TensorType
from millijoule.targets.graph import Node, Value
from millijoule.targets.graph.node import Registry
from millijoule.targets.litert.builder import DTYPES, LitertEmitter

emits = Registry()

_REDUCE = {"max": "REDUCE_MAX", "mean": "MEAN", "min": "REDUCE_MIN", "prod": "REDUCE_PROD",
           "sum": "SUM"}  # fmt: skip


def axes_of(n: Node, rank: int) -> list[int]:
    """The axes of a reduction, all of them if none are named."""
    axis = n.attrs["axis"]
    if axis is None:
        return list(range(rank))
    listed = [axis] if isinstance(axis, int) else axis
    return [int(a) % rank for a in listed]


@emits(*(f"relax.{name}" for name in _REDUCE))
def reduce(g: LitertEmitter, n: Node) -> Value:
    """One number for every group along the axes."""
    axes = axes_of(n, len(g.value(n.args[0]).type.shape))
    op = _REDUCE[n.op.removeprefix("relax.")]
    return g.op(op, [n.args[0], g.ints(axes)], n.type, keepDims=bool(n.attrs["keepdims"]))


@emits("relax.variance", "relax.std")
def variance(g: LitertEmitter, n: Node) -> Value:
    """The mean of squared distances from the mean."""
    x = g.value(n.args[0])
    axes = axes_of(n, len(x.type.shape))
    kept = tuple(1 if i in axes else d for i, d in enumerate(x.type.shape))
    mean = g.op("MEAN", [x, g.ints(axes)], TensorType(kept, n.type.dtype), keepDims=True)
    square = g.op("SQUARED_DIFFERENCE", [x, mean], x.type)
    y = g.op("MEAN", [square, g.ints(axes)], n.type, keepDims=bool(n.attrs["keepdims"]))
    return g.op("SQRT", [y], n.type) if n.op == "relax.std" else y


@emits("relax.argmax", "relax.argmin")
def arg(g: LitertEmitter, n: Node) -> Value:
    """Where the extreme is; the first of equal ones."""
    x, axis = g.value(n.args[0]), n.attrs["axis"]
    if axis is None:
        flat = TensorType((x.type.size,), x.type.dtype)
        x, axis = g.op("RESHAPE", [x, g.ints(flat.shape)], flat), 0
    axis = int(axis) % len(x.type.shape)
    shape = (*x.type.shape[:axis], *x.type.shape[axis + 1 :])
    op = "ARG_MAX" if n.op.endswith("max") else "ARG_MIN"
    y = g.op(op, [x, np.array(axis, np.int32)], TensorType(shape, n.type.dtype),
             outputType=DTYPES[n.type.dtype])  # fmt: skip
    return y if shape == n.type.shape else g.op("RESHAPE", [y, g.ints(n.type.shape)], n.type)


@emits("relax.cumsum")
def cumsum(g: LitertEmitter, n: Node) -> Value:
    """Running sums."""
    axis = np.array(int(n.attrs["axis"] or 0), np.int32)
    return g.op("CUMSUM", [n.args[0], axis], n.type, exclusive=bool(n.attrs["exclusive"]))


@emits("relax.nn.softmax", "relax.nn.log_softmax")
def softmax(g: LitertEmitter, n: Node) -> Value:
    """exp(x)/Σexp(x), or its logarithm; TFLite has them along the last axis."""
    rank = len(n.type.shape)
    axis = int(n.attrs["axis"]) % rank
    log = "log" in n.op
    options = {} if log else {"beta": 1.0}
    op = "LOG_SOFTMAX" if log else "SOFTMAX"
    if axis == rank - 1:
        return g.op(op, n.args, n.type, **options)
    order = [*(i for i in range(rank) if i != axis), axis]
    x = g.moved(g.value(n.args[0]), order)
    return g.moved(g.op(op, [x], x.type, **options), [int(i) for i in np.argsort(order)])
