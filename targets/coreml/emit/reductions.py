"""Sums, means, extremes and what is made of them."""

from __future__ import annotations

from millijoule.converters.ops import TensorType
from millijoule.targets.coreml.builder import MilEmitter
from millijoule.targets.coreml.emit.shapes import ints
from millijoule.targets.graph import Node, Value
from millijoule.targets.graph.node import Registry

emits = Registry()

_REDUCE = {name: f"reduce_{name}" for name in ("max", "mean", "min", "prod", "sum")}


def _axes(n: Node, rank: int) -> tuple[int, ...]:
    axis = n.attrs["axis"]
    if axis is None:
        return tuple(range(rank))
    return tuple(int(a) % rank for a in ([axis] if isinstance(axis, int) else axis))


@emits(*(f"relax.{name}" for name in _REDUCE))
def reduce(g: MilEmitter, n: Node) -> Value:
    """One number for every group along the axes."""
    axes = ints(_axes(n, len(g.shape(n.args[0]))))
    op = _REDUCE[n.op.removeprefix("relax.")]
    return g.op(op, n.type, x=n.args[0], axes=axes, keep_dims=bool(n.attrs["keepdims"]))


@emits("relax.variance", "relax.std")
def variance(g: MilEmitter, n: Node) -> Value:
    """The mean of squared distances from the mean."""
    x, shape = n.args[0], g.shape(n.args[0])
    axes = _axes(n, len(shape))
    kept = TensorType(tuple(1 if i in axes else d for i, d in enumerate(shape)), n.type.dtype)
    whole = TensorType(shape, n.type.dtype)
    mean = g.op("reduce_mean", kept, x=x, axes=ints(axes), keep_dims=True)
    square = g.op("square", whole, x=g.op("sub", whole, x=x, y=mean))
    keep = bool(n.attrs["keepdims"])
    y = g.op("reduce_mean", n.type, x=square, axes=ints(axes), keep_dims=keep)
    return g.op("sqrt", n.type, x=y) if n.op == "relax.std" else y


@emits("relax.argmax", "relax.argmin")
def arg(g: MilEmitter, n: Node) -> Value:
    """Where the extreme is; the first of equal ones."""
    x, axis = n.args[0], n.attrs["axis"]
    if axis is None:
        size = TensorType(g.shape(x), "float32").size
        x, axis = g.op("reshape", n.type, x=x, shape=ints((size,))), 0
    op = "reduce_argmax" if n.op.endswith("max") else "reduce_argmin"
    return g.op(op, n.type, x=x, axis=int(axis), keep_dims=bool(n.attrs["keepdims"]))


@emits("relax.cumsum")
def cumsum(g: MilEmitter, n: Node) -> Value:
    """Running sums."""
    axis, exclusive = int(n.attrs["axis"] or 0), bool(n.attrs["exclusive"])
    return g.op("cumsum", n.type, x=n.args[0], axis=axis, exclusive=exclusive)


@emits("relax.nn.softmax")
def softmax(g: MilEmitter, n: Node) -> Value:
    """exp(x)/Σexp(x) along an axis."""
    return g.op("softmax", n.type, x=n.args[0], axis=int(n.attrs["axis"]))


@emits("relax.nn.log_softmax")
def log_softmax(g: MilEmitter, n: Node) -> Value:
    """x − log Σexp(x)."""
    axis = int(n.attrs["axis"])
    shape = list(n.type.shape)
    shape[axis] = 1
    kept = TensorType(tuple(shape), n.type.dtype)
    total = g.op("reduce_log_sum_exp", kept, x=n.args[0], axes=ints((axis,)), keep_dims=True)
    return g.op("sub", n.type, x=n.args[0], y=total)
