"""Gathers and running sums: negative and bad indices, ``exclusive`` and ``reverse``.

Indices outside of an axis are clipped to it, so that no input makes a program read outside of its
tensors; ONNX Runtime raises an error there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tvm import relax

from millijoule.converters.importer import tensor_type

_op = relax.op


def _from_the_front(importer: Any, name: str, size: int) -> relax.Expr:
    """Indices with negative ones counted from the front, in int64 and inside of the axis."""
    if name in importer.known:
        index = np.asarray(importer.known[name], np.int64)
        return relax.const(np.clip(np.where(index < 0, index + size, index), 0, size - 1), "int64")
    emit = importer.builder.emit
    index = emit(_op.astype(importer.value(name), "int64"))
    behind = emit(_op.less(index, relax.const(0, "int64")))
    moved = emit(_op.where(behind, emit(_op.add(index, relax.const(size, "int64"))), index))
    return emit(_op.clip(moved, 0, size - 1))


def gather(importer: Any, node: Any, attributes: dict[str, Any]) -> Any:
    """``Gather``: whole slices along an axis."""
    data = importer.value(node.input[0])
    dims = tensor_type(data).shape
    axis = int(attributes.get("axis", 0)) % len(dims)
    index = _from_the_front(importer, node.input[1], dims[axis])
    return _op.take(data, index, axis=axis, mode="clip")


def gather_elements(importer: Any, node: Any, attributes: dict[str, Any]) -> Any:
    """``GatherElements``: one element per index."""
    data = importer.value(node.input[0])
    dims = tensor_type(data).shape
    axis = int(attributes.get("axis", 0)) % len(dims)
    index = _from_the_front(importer, node.input[1], dims[axis])
    return _op.gather_elements(data, index, axis=axis)


def gather_nd(importer: Any, node: Any, attributes: dict[str, Any]) -> Any:
    """``GatherND``: slices that a tuple of indices names; the tuples become one number each."""
    emit, batch = importer.builder.emit, int(attributes.get("batch_dims", 0))
    data = importer.value(node.input[0])
    index = emit(_op.astype(importer.value(node.input[1]), "int64"))
    dims, places = tensor_type(data).shape, tensor_type(index).shape
    depth = places[-1]
    sizes = dims[: batch + depth]
    parts = [emit(_op.strided_slice(index, [len(places) - 1], [k], [k + 1])) for k in range(depth)]
    total: Any = None
    for part, size in zip(parts, sizes[batch:], strict=True):
        behind = emit(_op.less(part, relax.const(0, "int64")))
        moved = emit(_op.where(behind, emit(_op.add(part, relax.const(size, "int64"))), part))
        inside = emit(_op.clip(moved, 0, size - 1))
        if total is not None:
            scaled = emit(_op.multiply(total, relax.const(size, "int64")))
            inside = emit(_op.add(scaled, inside))
        total = inside
    if batch:  # batches lie one after the other
        lead = places[:batch]
        rows = np.arange(math.prod(lead)) * math.prod(sizes[batch:])
        rows = rows.reshape(*lead, *[1] * (len(places) - batch))
        total = emit(_op.add(total, relax.const(rows, "int64")))
    flat = emit(_op.reshape(data, (math.prod(sizes), *dims[batch + depth :])))
    index = emit(_op.reshape(total, places[:-1]))
    return _op.take(flat, index, axis=0, mode="clip")


def cumsum(importer: Any, node: Any, attributes: dict[str, Any]) -> Any:
    """``CumSum``, from the end if ``reverse``, without the element itself if ``exclusive``."""
    emit = importer.builder.emit
    x = importer.value(node.input[0])
    t = tensor_type(x)
    axis = int(importer.known[node.input[1]]) % len(t.shape)
    reverse = bool(attributes.get("reverse", 0))
    y = emit(_op.flip(x, axis)) if reverse else x
    y = emit(_op.cumsum(y, axis))
    if attributes.get("exclusive", 0):
        kept = emit(_op.strided_slice(y, [axis], [0], [t.shape[axis] - 1]))
        first = tuple(1 if a == axis else d for a, d in enumerate(t.shape))
        y = emit(_op.concat([relax.const(np.zeros(first, t.dtype), t.dtype), kept], axis))
    return _op.flip(y, axis) if reverse else y


def one_hot(importer: Any, node: Any, attributes: dict[str, Any]) -> Any:
    """``OneHot``: the second of two values where the class's number is the index, else the first.

    An index outside of −depth … depth − 1 gives only the first value.
    """
    emit = importer.builder.emit
    index = emit(_op.astype(importer.value(node.input[0]), "int64"))
    depth = int(np.ravel(importer.known[node.input[1]])[0])
    axis = int(attributes.get("axis", -1)) % (len(tensor_type(index).shape) + 1)
    behind = emit(_op.less(index, relax.const(0, "int64")))
    index = emit(_op.where(behind, emit(_op.add(index, relax.const(depth, "int64"))), index))
    index = emit(_op.expand_dims(index, axis))
    rank = len(tensor_type(index).shape)
    classes = np.arange(depth).reshape([depth if a == axis else 1 for a in range(rank)])
    off, on = importer.known[node.input[2]]
    hit = emit(_op.equal(index, relax.const(classes, "int64")))
    dtype = str(importer.known[node.input[2]].dtype)
    return _op.where(hit, relax.const(on, dtype), relax.const(off, dtype))


CONVERTERS = {
    "OneHot": one_hot,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "CumSum": cumsum,
}
