"""Operators that move, repeat or only rename values."""

from __future__ import annotations

import math

import numpy as np
from torch import fx
from tvm import relax

from millijoule.converters.torch_ops.context import (
    Context,
    Convert,
    argument,
    dtype_of,
    shape_of,
)
from millijoule.sizes import Size

_op = relax.op


def _cast(node: fx.Node, context: Context) -> relax.Expr:
    """``_to_copy``: the dtype that torch gives the result."""
    x = context.value(node.args[0])
    if dtype_of(node) == "bool" and str(x.ty.dtype) != "bool":
        return context.emit(_op.not_equal(x, relax.const(0, str(x.ty.dtype))))
    return context.cast(x, dtype_of(node))


def _same(node: fx.Node, context: Context) -> relax.Expr:
    return context.value(node.args[0])


def _slice(node: fx.Node, context: Context) -> relax.Expr:
    """A piece of an axis. Where sizes vary, elements are taken by number.

    TVM's own conversion gives the lesser of two sizes for those, which no size is (`ops.symbols`).
    """
    dims, result = shape_of(node.args[0]), shape_of(node)
    axis = int(argument(node, 1, "dim", 0)) % len(dims)
    start, end = argument(node, 2, "start", 0) or 0, argument(node, 3, "end")
    x = context.value(node.args[0])
    if result == dims:
        return x
    fixed = not isinstance(dims[axis], Size) and not isinstance(result[axis], Size)
    if fixed or not isinstance(start, int) or argument(node, 4, "step", 1) != 1:
        return context.tvm_converters()[node.target.__name__](node)
    whole = x.ty.shape[axis]
    first = start if start >= 0 else whole + start
    if not isinstance(result[axis], Size):
        last = first + result[axis]
    elif isinstance(end, fx.Node):
        last = context.importer.env[end]
    else:  # an end that is behind the last element, or counts from it
        last = whole + min(end or 0, 0)
    numbers = context.emit(_op.arange(first, last, 1, "int64"))
    return context.emit(_op.take(x, numbers, axis, mode="clip"))


def _where(node: fx.Node, context: Context) -> relax.Var:
    dtype = dtype_of(node)
    a, b = context.value(node.args[1], dtype), context.value(node.args[2], dtype)
    return context.emit(_op.where(context.value(node.args[0]), a, b))


def _filled(node: fx.Node, context: Context) -> relax.Var:
    """``full_like`` and its kin: the last number, in the result's dtype."""
    value = {"zeros_like": 0, "ones_like": 1}.get(
        node.target.__name__.partition(".")[0],
        node.args[1] if len(node.args) > 1 else 0,
    )
    dtype = dtype_of(node)
    number = context.value(value, dtype)
    return context.emit(_op.full(shape_of(node), number, dtype))


def _unfold(node: fx.Node, context: Context) -> relax.Var:
    """Windows along an axis, ``[…, count, …, size]``: one pick of every window's elements."""
    dims = shape_of(node.args[0])
    axis, size, step = int(node.args[1]) % len(dims), int(node.args[2]), int(node.args[3])
    count = (dims[axis] - size) // step + 1
    index = np.arange(count)[:, None] * step + np.arange(size)
    picked = context.emit(
        _op.take(context.value(node.args[0]), relax.const(index, "int64"), axis, mode="clip")
    )
    order = [*range(axis + 1), *range(axis + 2, len(dims) + 1), axis + 1]
    return context.emit(_op.permute_dims(picked, order))


def _as_strided(node: fx.Node, context: Context) -> relax.Var:
    """Elements of a contiguous tensor at the positions that strides give."""
    dims = shape_of(node.args[0])
    size, strides = node.args[1], node.args[2]
    index = np.full((), int(argument(node, 3, "storage_offset", 0) or 0), np.int64)
    for count, stride in zip(size, strides, strict=True):
        index = index[..., None] + np.arange(int(count)) * int(stride)
    flat = context.emit(_op.reshape(context.value(node.args[0]), (math.prod(dims),)))
    return context.emit(_op.take(flat, relax.const(index, "int64"), axis=0, mode="clip"))


def _one_hot(node: fx.Node, context: Context) -> relax.Var:
    """1 where the class's number is the index, else 0."""
    classes = relax.const(np.arange(shape_of(node)[-1]), "int64")
    index = context.emit(_op.expand_dims(context.value(node.args[0], "int64"), -1))
    return context.cast(context.emit(_op.equal(index, classes)), dtype_of(node))


CONVERTERS: dict[str, Convert] = {
    "_to_copy.default": _cast,
    "alias.default": _same,
    "clone.default": _same,
    "detach.default": _same,
    "lift_fresh_copy.default": _same,
    "_assert_tensor_metadata.default": _same,
    "unfold.default": _unfold,
    "as_strided.default": _as_strided,
    "one_hot.default": _one_hot,
    "slice.Tensor": _slice,
    "where.self": _where,
    "full_like.default": _filled,
    "zeros_like.default": _filled,
    "ones_like.default": _filled,
}
