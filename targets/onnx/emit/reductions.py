"""Sums, means, extremes and what is made of them."""

from __future__ import annotations

import numpy as np

from millijoule.converters.ops import TensorType
from millijoule.targets.graph import Node, Value
from millijoule.targets.graph.node import Registry
from millijoule.targets.onnx.builder import OnnxEmitter

emits = Registry()

_REDUCE = {"max": "ReduceMax", "mean": "ReduceMean", "min": "ReduceMin", "prod": "ReduceProd"}


def _axes(n: Node, rank: int) -> list[int]:
    axis = n.attrs["axis"]
    if axis is None:
        return list(range(rank))
    return [int(axis)] if isinstance(axis, int) else [int(a) for a in axis]


@emits(*(f"relax.{name}" for name in _REDUCE))
def reduce(g: OnnxEmitter, n: Node) -> Value:
    """One number for every group along the axes."""
    axes = _axes(n, len(g.value(n.args[0]).type.shape))
    op = _REDUCE[n.op.removeprefix("relax.")]
    return g.node(op, n.args, n.type, axes=axes, keepdims=int(n.attrs["keepdims"]))


@emits("relax.sum")
def sum_(g: OnnxEmitter, n: Node) -> Value:
    """ReduceSum takes its axes as an operand since opset 13."""
    axes = g.ints(_axes(n, len(g.value(n.args[0]).type.shape)))
    return g.node("ReduceSum", [n.args[0], axes], n.type, keepdims=int(n.attrs["keepdims"]))


@emits("relax.variance", "relax.std")
def variance(g: OnnxEmitter, n: Node) -> Value:
    """The mean of squared distances from the mean."""
    x = g.value(n.args[0])
    axes = _axes(n, len(x.type.shape))
    kept = tuple(1 if i in {a % len(x.type.shape) for a in axes} else d
                 for i, d in enumerate(x.type.shape))  # fmt: skip
    mean = g.node("ReduceMean", [x], TensorType(kept, n.type.dtype), axes=axes, keepdims=1)
    centred = g.node("Sub", [x, mean], x.type)
    square = g.node("Mul", [centred, centred], x.type)
    value = g.node("ReduceMean", [square], n.type, axes=axes, keepdims=int(n.attrs["keepdims"]))
    return g.node("Sqrt", [value], n.type) if n.op == "relax.std" else value


@emits("relax.argmax", "relax.argmin")
def arg(g: OnnxEmitter, n: Node) -> Value:
    """Where the extreme is; the first of equal ones."""
    op = "ArgMax" if n.op.endswith("max") else "ArgMin"
    axis = n.attrs["axis"]
    x = g.value(n.args[0])
    if axis is None:
        x = g.node("Reshape", [x, g.ints([x.type.size])], TensorType((x.type.size,), x.type.dtype))
        axis = 0
    wide = TensorType(n.type.shape, "int64")
    place = g.node(op, [x], wide, axis=int(axis), keepdims=int(n.attrs["keepdims"]))
    return g.node("Cast", [place], n.type, to=g.dtype(n.type.dtype))


@emits("relax.cumsum")
def cumsum(g: OnnxEmitter, n: Node) -> Value:
    """Running sums."""
    axis = np.array(int(n.attrs["axis"] or 0), np.int64)
    return g.node("CumSum", [n.args[0], axis], n.type, exclusive=int(bool(n.attrs["exclusive"])))


@emits("relax.nn.softmax", "relax.nn.log_softmax")
def softmax(g: OnnxEmitter, n: Node) -> Value:
    """exp(x)/Σexp(x) along an axis, or its logarithm."""
    op = "LogSoftmax" if "log" in n.op else "Softmax"
    return g.node(op, n.args, n.type, axis=int(n.attrs["axis"]))
