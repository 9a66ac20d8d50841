"""Gathering and sorting."""

from __future__ import annotations

from millijoule.errors import UnsupportedError
from millijoule.targets.coreml.builder import MilEmitter
from millijoule.targets.coreml.emit.shapes import ints
from millijoule.targets.graph import Node, Value
from millijoule.targets.graph.node import Registry

emits = Registry()


@emits("relax.take")
def take(g: MilEmitter, n: Node) -> Value:
    """Whole slices by index."""
    x, axis = n.args[0], n.attrs["axis"]
    if axis is None:
        size = 1
        for d in g.shape(x):
            size *= d
        x, axis = g.op("reshape", n.type, x=x, shape=ints((size,))), 0
    return g.op("gather", n.type, x=x, indices=n.args[1], axis=int(axis))


@emits("relax.gather_elements")
def gather_elements(g: MilEmitter, n: Node) -> Value:
    """Single elements along an axis."""
    x, index = n.args
    return g.op("gather_along_axis", n.type, x=x, indices=index, axis=int(n.attrs["axis"]))


@emits("relax.gather_nd")
def gather_nd(g: MilEmitter, n: Node) -> Value:
    """Slices by multi-dimensional index."""
    dims = int(n.attrs["batch_dims"])
    return g.op("gather_nd", n.type, x=n.args[0], indices=n.args[1], batch_dims=dims)


@emits("relax.topk")
def topk(g: MilEmitter, n: Node) -> Value | tuple[Value, ...]:
    """The k largest or smallest along an axis."""
    axis, kept = int(n.attrs["axis"]), n.attrs["ret_type"]
    both = g.ops("topk", (n.results[0], n.results[-1]), x=n.args[0], k=n.type.shape[axis],
                 axis=axis, ascending=not n.attrs["largest"])  # fmt: skip
    if kept == "both":
        return both
    return both[0] if kept == "values" else both[1]


@emits("relax.argsort")
def argsort(g: MilEmitter, n: Node) -> Value:
    """The order of all of an axis."""
    ascending = not n.attrs["descending"]
    return g.op("argsort", n.type, x=n.args[0], axis=int(n.attrs["axis"]), ascending=ascending)


@emits("relax.sort")
def sort(g: MilEmitter, n: Node) -> Value:
    """All of an axis in order."""
    axis = int(n.attrs["axis"])
    ascending = not n.attrs["descending"]
    return g.ops("topk", (n.type, n.type), x=n.args[0], k=n.type.shape[axis], axis=axis,
                 ascending=ascending)[0]  # fmt: skip


@emits("relax.image.resize2d")
def resize2d(g: MilEmitter, n: Node) -> Value:
    """Images of a size that is a whole multiple (nearest), or of any size (bilinear)."""
    method, how = n.attrs["method"], n.attrs["coordinate_transformation_mode"]
    height, width = n.type.shape[2:]
    before = g.shape(n.args[0])[2:]
    if method == "nearest_neighbor" and height % before[0] == width % before[1] == 0:
        return g.op("upsample_nearest_neighbor", n.type, x=n.args[0],
                    scale_factor_height=height // before[0],
                    scale_factor_width=width // before[1])  # fmt: skip
    if method != "linear":
        raise UnsupportedError(
            f"[coreml] {method} resizing of layer {n.layer!r} from {before} to {(height, width)}"
            " has no form there"
        )
    mode = {"align_corners": "STRICT_ALIGN_CORNERS", "half_pixel": "UNALIGN_CORNERS"}
    return g.op("resize_bilinear", n.type, x=n.args[0], target_size_height=height,
                target_size_width=width, sampling_mode=mode.get(how, "DEFAULT"))  # fmt: skip
