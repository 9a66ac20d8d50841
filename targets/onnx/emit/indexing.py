"""Gathering, scattering, sorting."""

from __future__ import annotations

import numpy as np

from millijoule.converters.ops import TensorType
from millijoule.targets.graph import Node, Value
from millijoule.targets.graph.node import Registry
from millijoule.targets.onnx.builder import OnnxEmitter

emits = Registry()


@emits("relax.take")
def take(g: OnnxEmitter, n: Node) -> Value:
    """Whole slices by index."""
    x, axis = g.value(n.args[0]), n.attrs["axis"]
    if axis is None:
        flat = TensorType((x.type.size,), x.type.dtype)
        x, axis = g.node("Reshape", [x, g.ints(flat.shape)], flat), 0
    return g.node("Gather", [x, n.args[1]], n.type, axis=int(axis))


@emits("relax.gather_elements")
def gather_elements(g: OnnxEmitter, n: Node) -> Value:
    """Single elements along an axis."""
    return g.node("GatherElements", n.args, n.type, axis=int(n.attrs["axis"]))


@emits("relax.gather_nd")
def gather_nd(g: OnnxEmitter, n: Node) -> Value:
    """Slices by multi-dimensional index."""
    index = g.value(n.args[1])
    wide = g.node("Cast", [index], TensorType(index.type.shape, "int64"), to=g.dtype("int64"))
    return g.node("GatherND", [n.args[0], wide], n.type, batch_dims=int(n.attrs["batch_dims"]))


@emits("relax.scatter_elements")
def scatter_elements(g: OnnxEmitter, n: Node) -> Value:
    """Write single elements along an axis."""
    kind = {"update": "none", "add": "add", "mul": "mul"}.get(n.attrs["reduction"], "none")
    return g.node("ScatterElements", n.args, n.type, axis=int(n.attrs["axis"]), reduction=kind)


@emits("relax.topk")
def topk(g: OnnxEmitter, n: Node) -> Value | tuple[Value, ...]:
    """The k largest or smallest along an axis."""
    x = g.value(n.args[0])
    kept = n.attrs["ret_type"]
    shape, axis = n.type.shape, int(n.attrs["axis"])
    values, places = g.nodes_of(
        "TopK",
        [x, g.ints([shape[axis]])],
        [TensorType(shape, x.type.dtype), TensorType(shape, "int64")],
        axis=axis,
        largest=int(n.attrs["largest"]),
    )
    index_type = n.results[-1]
    if kept != "values":
        places = g.node("Cast", [places], index_type, to=g.dtype(index_type.dtype))
    if kept == "both":
        return values, places
    return values if kept == "values" else places


@emits("relax.argsort", "relax.sort")
def sort(g: OnnxEmitter, n: Node) -> Value:
    """All of an axis in order. Equal values may come in another order than elsewhere."""
    x, axis = g.value(n.args[0]), int(n.attrs["axis"])
    values, places = g.nodes_of(
        "TopK",
        [x, g.ints([x.type.shape[axis]])],
        [x.type, TensorType(x.type.shape, "int64")],
        axis=axis,
        largest=int(n.attrs["descending"]),
    )
    if n.op == "relax.sort":
        return values
    return g.node("Cast", [places], n.type, to=g.dtype(n.type.dtype))


@emits("relax.one_hot")
def one_hot(g: OnnxEmitter, n: Node) -> Value:
    """Rows of an identity, with other numbers for 1 and 0."""
    index, on, off = n.args
    values = np.array([off, on], n.type.dtype)
    depth = np.array(n.attrs["depth"], np.int64)
    return g.node("OneHot", [index, depth, values], n.type, axis=int(n.attrs["axis"]))


@emits("relax.image.resize2d")
def resize2d(g: OnnxEmitter, n: Node) -> Value:
    """Images of another size."""
    sizes = g.ints(n.type.shape)
    method, how = n.attrs["method"], n.attrs["coordinate_transformation_mode"]
    modes = {"nearest_neighbor": "nearest", "linear": "linear", "cubic": "cubic"}
    nearest = {"floor": "floor", "round": "round_prefer_floor", "ceil": "ceil"}
    return g.node(
        "Resize",
        [n.args[0], None, None, sizes],
        n.type,
        mode=modes[method],
        coordinate_transformation_mode=how,
        nearest_mode=nearest.get(n.attrs["rounding_method"], "floor"),
        cubic_coeff_a=float(n.attrs["cubic_alpha"]) if method == "cubic" else None,
    )
