"""Gathering and sorting."""

from __future__ import annotations

from typing import Any

import numpy as np

from millijoule.converters.ops import TensorType
from millijoule.errors import UnsupportedError
from millijoule.targets.graph import Node, Value
from millijoule.targets.graph.node import Registry
from millijoule.targets.litert.builder import DTYPES, LitertEmitter

emits = Registry()


@emits("relax.take")
def take(g: LitertEmitter, n: Node) -> Value:
    """Whole slices by index."""
    x, axis = g.value(n.args[0]), n.attrs["axis"]
    if axis is None:
        flat = TensorType((x.type.size,), x.type.dtype)
        x, axis = g.op("RESHAPE", [x, g.ints(flat.shape)], flat), 0
    return g.op("GATHER", [x, n.args[1]], n.type, axis=int(axis))


@emits("relax.gather_elements")
def gather_elements(g: LitertEmitter, n: Node) -> Value:
    """Single elements: a gather from the flat tensor by sums of constant and given places."""
    x, index = (g.value(a) for a in n.args)
    axis = int(n.attrs["axis"]) % len(x.type.shape)
    strides = np.cumprod((1, *x.type.shape[:0:-1]))[::-1]
    grids = np.indices(index.type.shape)
    base = sum(grids[i] * int(strides[i]) for i in range(len(strides)) if i != axis)
    narrow = _int32(g, index)
    step = g.op("MUL", [narrow, np.array(strides[axis], np.int32)], narrow.type)
    place = g.op("ADD", [step, np.asarray(base, np.int32)], narrow.type)
    flat = TensorType((x.type.size,), x.type.dtype)
    return g.op("GATHER", [g.op("RESHAPE", [x, g.ints(flat.shape)], flat), place], n.type, axis=0)


def _int32(g: LitertEmitter, value: Value) -> Value:
    t = TensorType(value.type.shape, "int32")
    if value.type.dtype == "int32":
        return value
    kinds = {"inDataType": DTYPES[value.type.dtype], "outDataType": DTYPES["int32"]}
    return g.op("CAST", [value], t, **kinds)


@emits("relax.gather_nd")
def gather_nd(g: LitertEmitter, n: Node) -> Value:
    """Slices by multi-dimensional index."""
    if int(n.attrs["batch_dims"]):
        raise UnsupportedError(f"[litert] gather_nd of layer {n.layer!r} has batch axes")
    return g.op("GATHER_ND", [n.args[0], _int32(g, g.value(n.args[1]))], n.type)


@emits("relax.topk", "relax.argsort", "relax.sort")
def topk(g: LitertEmitter, n: Node) -> Value | tuple[Value, ...]:
    """The k largest of the last axis; the smallest are the largest of the negatives."""
    x, shape = g.value(n.args[0]), n.type.shape
    axis = int(n.attrs["axis"]) % len(shape)
    order = [*(i for i in range(len(shape)) if i != axis), axis]
    sorts = n.op != "relax.topk"
    kept = {"relax.sort": "values", "relax.argsort": "indices"}.get(n.op) or n.attrs["ret_type"]
    largest = bool(n.attrs["descending"] if sorts else n.attrs["largest"])
    source = g.moved(x if largest else g.op("NEG", [x], x.type), order)
    count = np.array(shape[axis], np.int32)
    last = tuple(shape[i] for i in order)
    types = [TensorType(last, x.type.dtype), TensorType(last, "int32")]
    back = [int(i) for i in np.argsort(order)]
    values, places = (g.moved(v, back) for v in g.ops("TOPK_V2", [source, count], types))
    if kept != "indices" and not largest:
        values = g.op("NEG", [values], values.type)
    wanted = n.results[-1]
    if kept != "values" and wanted.dtype != "int32":
        kinds: dict[str, Any] = {"inDataType": DTYPES["int32"], "outDataType": DTYPES[wanted.dtype]}
        places = g.op("CAST", [places], wanted, **kinds)
    if kept == "both":
        return values, places
    return values if kept == "values" else places


@emits("relax.image.resize2d")
def resize2d(g: LitertEmitter, n: Node) -> Value:
    """Images of another size, channels last for the operator and first around it."""
    method, how = n.attrs["method"], n.attrs["coordinate_transformation_mode"]
    if method == "cubic":
        raise UnsupportedError(f"[litert] cubic resizing of layer {n.layer!r} has no form there")
    batch, channels, height, width = n.type.shape
    x = g.value(n.args[0])
    first = TensorType((batch, *x.type.shape[2:], channels), x.type.dtype)
    last = TensorType((batch, height, width, channels), n.type.dtype)
    x = g.op("TRANSPOSE", [x, g.ints([0, 2, 3, 1])], first)
    linear = method == "linear"
    name = "RESIZE_BILINEAR" if linear else "RESIZE_NEAREST_NEIGHBOR"
    half = how == "half_pixel" and linear  # torch's nearest takes the floor of asymmetric places
    y = g.op(name, [x, g.ints([height, width])], last,
             alignCorners=how == "align_corners", halfPixelCenters=half)  # fmt: skip
    return g.op("TRANSPOSE", [y, g.ints([0, 3, 1, 2])], n.type)
