"""Picking and placing by index: ``x[i, j]``, embeddings, scatters, reflection and edge padding.

Indices outside of an axis are clipped to it, so that no input makes a program read or write
outside of its tensors; torch raises an error there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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
from millijoule.errors import UnsupportedError

_op = relax.op


def _embedding(node: fx.Node, context: Context) -> relax.Var:
    table, ids = context.value(node.args[0]), context.value(node.args[1])
    return context.emit(_op.take(table, ids, axis=0, mode="clip"))


def _index_select(node: fx.Node, context: Context) -> relax.Var:
    data, axis = context.value(node.args[0]), int(node.args[1])
    index = context.value(node.args[2])
    if not index.ty.shape:
        index = context.emit(_op.reshape(index, (1,)))
    return context.emit(_op.take(data, index, axis=axis, mode="clip"))


def _from_the_front(index: fx.Node, size: int, context: Context) -> relax.Expr:
    """``index`` with negative entries counted from the front, in int64."""
    known = context.constant(index)
    if known is not None:
        return relax.const(np.where(known < 0, known + size, known).astype(np.int64), "int64")
    expr = context.value(index, "int64")
    behind = context.emit(_op.less(expr, relax.const(0, "int64")))
    moved = context.emit(_op.add(expr, relax.const(size, "int64")))
    return context.emit(_op.where(behind, moved, expr))


def _index(node: fx.Node, context: Context) -> relax.Var:
    """``data[i, :, j, …]``: the index tensors broadcast together, None keeps an axis whole.

    The indexed axes are moved together and merged into one, which a single ``take`` picks from.
    """
    source = node.args[0]
    data, dims = context.value(source), shape_of(source)
    axes = _indexed_axes(node.args[1])
    first = axes[0]
    if axes != list(range(first, first + len(axes))):  # apart: torch puts the result in front
        order = [*axes, *(a for a in range(len(dims)) if a not in axes)]
        data = context.emit(_op.permute_dims(data, order))
        dims, first = tuple(dims[a] for a in order), 0
    sizes = dims[first : first + len(axes)]
    flat = _flat_index([node.args[1][a] for a in axes], sizes, context)
    if len(axes) > 1:
        merged = (*dims[:first], math.prod(sizes), *dims[first + len(axes) :])
        data = context.emit(_op.reshape(data, merged))
    return context.emit(_op.take(data, flat, axis=first, mode="clip"))


def _flat_index(indices: Sequence[fx.Node], sizes: Sequence[int], context: Context) -> relax.Expr:
    """Σ index · stride, broadcast; a constant if all of them are."""
    strides = [math.prod(sizes[k + 1 :]) for k in range(len(sizes))]
    known = [context.constant(index) for index in indices]
    if all(k is not None for k in known):
        parts = [
            np.where(k < 0, k + size, k).astype(np.int64) * stride
            for k, size, stride in zip(known, sizes, strides, strict=True)
            if k is not None
        ]
        total = sum(parts[1:], start=parts[0])
        return relax.const(np.ascontiguousarray(total), "int64")
    result: relax.Expr | None = None
    for index, size, stride in zip(indices, sizes, strides, strict=True):
        part = _from_the_front(index, size, context)
        if len(sizes) > 1:  # clip each axis by itself, before they are added up
            part = context.emit(_op.clip(part, 0, size - 1))
        if stride != 1:
            part = context.emit(_op.multiply(part, relax.const(stride, "int64")))
        result = part if result is None else context.emit(_op.add(result, part))
    assert result is not None
    return result


def _index_put(node: fx.Node, context: Context) -> relax.Var:
    """``data[i, :, j, …] = values``, or ``+=``: a scatter along the merged indexed axes.

    Where indices repeat, values are added in their order; of values that are put, the last stays.
    """
    source, values = node.args[0], context.value(node.args[2])
    dims = shape_of(source)
    axes = _indexed_axes(node.args[1])
    rest = [a for a in range(len(dims)) if a not in axes]
    order = [*axes, *rest]
    sizes, others = [dims[a] for a in axes], [dims[a] for a in rest]
    flat = _flat_index([node.args[1][a] for a in axes], sizes, context)
    spread = [int(d) for d in flat.ty.shape]
    adjacent = axes == list(range(axes[0], axes[0] + len(axes)))
    lead = axes[0] if adjacent else 0  # where torch puts the indices' axes in the values
    full = [*others[:lead], *spread, *others[lead:]]
    values = context.emit(_op.broadcast_to(context.cast(values, dtype_of(node)), full))
    front = [*range(lead, lead + len(spread)), *range(lead), *range(lead + len(spread), len(full))]
    values = context.emit(_op.permute_dims(values, front))
    rows, row = math.prod(spread), math.prod(others)
    values = context.emit(_op.reshape(values, (rows, row)))
    data = context.emit(_op.permute_dims(context.value(source), order))
    data = context.emit(_op.reshape(data, (math.prod(sizes), row)))
    index = context.emit(_op.reshape(context.emit(flat), (rows, 1)))
    index = context.emit(_op.clip(index, 0, math.prod(sizes) - 1))
    kind = "add" if argument(node, 3, "accumulate", False) else "update"
    result = context.emit(_op.scatter_nd(data, index, values, kind))
    result = context.emit(_op.reshape(result, [*sizes, *others]))
    return context.emit(_op.permute_dims(result, [order.index(a) for a in range(len(dims))]))


def _indexed_axes(indices: Sequence[fx.Node | None]) -> list[int]:
    """Axes that have an index; UnsupportedError for a mask."""
    for index in indices:
        if index is not None and str(index.meta["val"].dtype) in ("torch.bool", "torch.uint8"):
            raise UnsupportedError(
                "indexing by a mask gives a shape that depends on values; use torch.where"
            )
    return [axis for axis, index in enumerate(indices) if index is not None]


def _gather(node: fx.Node, context: Context) -> relax.Var:
    data, axis = node.args[0], int(node.args[1])
    size = shape_of(data)[axis]
    index = context.value(node.args[2], "int64")
    inside = context.emit(_op.clip(index, 0, size - 1))
    return context.emit(
        _op.gather_elements(context.value(data), inside, axis=axis % len(shape_of(data)))
    )


_REDUCTIONS = {"sum": "add", "prod": "mul", "amax": "max", "amin": "min"}


def _scatter(node: fx.Node, context: Context) -> relax.Var:
    """``scatter`` of a tensor or a number, ``scatter_add`` and ``scatter_reduce``."""
    name = node.target.__name__
    data, axis = node.args[0], int(node.args[1])
    dims = shape_of(data)
    index = context.value(node.args[2], "int64")
    inside = context.emit(_op.clip(index, 0, dims[axis] - 1))
    updates = context.value(node.args[3], str(context.value(data).ty.dtype))
    if not updates.ty.shape:
        updates = context.emit(_op.broadcast_to(updates, shape_of(node.args[2])))
    kind = "add" if name.startswith("scatter_add") else "update"
    if name.startswith("scatter_reduce"):
        if argument(node, 5, "include_self", True) is not True or node.args[4] == "mean":
            raise UnsupportedError("scatter_reduce takes sum, prod, amax or amin with include_self")
        kind = _REDUCTIONS[node.args[4]]
    if shape_of(node.args[2]) != tuple(int(d) for d in updates.ty.shape):
        begin, end = [0] * len(dims), list(shape_of(node.args[2]))
        updates = context.emit(_op.strided_slice(updates, list(range(len(dims))), begin, end))
    return context.emit(
        _op.scatter_elements(context.value(data), inside, updates, axis % len(dims), kind)
    )


def _select_scatter(node: fx.Node, context: Context) -> relax.Var:
    """``data`` with one slice along ``dim`` replaced."""
    data, source = node.args[0], context.value(node.args[1])
    dims = shape_of(data)
    axis = int(argument(node, 2, "dim")) % len(dims)
    place = int(argument(node, 3, "index")) % dims[axis]
    x, parts = context.value(data), []
    if place:
        parts.append(context.emit(_op.strided_slice(x, [axis], [0], [place])))
    parts.append(context.emit(_op.expand_dims(context.cast(source, str(x.ty.dtype)), axis)))
    if place + 1 < dims[axis]:
        parts.append(context.emit(_op.strided_slice(x, [axis], [place + 1], [dims[axis]])))
    return context.emit(_op.concat(parts, axis))


def _edge_pad(mode: str) -> Convert:
    """Reflection and replication padding: one ``take`` per padded axis."""

    def convert(node: fx.Node, context: Context) -> relax.Var:
        pads, dims = list(node.args[1]), shape_of(node.args[0])
        x = context.value(node.args[0])
        for pair in range(len(pads) // 2):
            axis = len(dims) - 1 - pair
            before, after = int(pads[2 * pair]), int(pads[2 * pair + 1])
            if before == after == 0:
                continue
            place = np.arange(-before, dims[axis] + after)
            if mode == "reflect":
                place = np.abs(place)
                last = dims[axis] - 1
                place = last - np.abs(last - place)
            index = np.clip(place, 0, dims[axis] - 1).astype(np.int64)
            x = context.emit(_op.take(x, relax.const(index, "int64"), axis=axis, mode="clip"))
        return x

    return convert


CONVERTERS: dict[str, Convert] = {
    "embedding.default": _embedding,
    "index_select.default": _index_select,
    "index.Tensor": _index,
    "index_put.default": _index_put,
    "gather.default": _gather,
    "scatter.src": _scatter,
    "scatter.value": _scatter,
    "scatter_add.default": _scatter,
    "scatter_reduce.two": _scatter,
    "select_scatter.default": _select_scatter,
    **{f"reflection_pad{n}d.default": _edge_pad("reflect") for n in (1, 2, 3)},
    **{f"replication_pad{n}d.default": _edge_pad("edge") for n in (1, 2, 3)},
}
