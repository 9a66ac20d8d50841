"""Operators that move values without changing them."""

from __future__ import annotations

import numpy as np

from millijoule.converters.ops import TensorType
from millijoule.targets.graph import Node, Value
from millijoule.targets.graph.node import Registry
from millijoule.targets.onnx.builder import OnnxEmitter

emits = Registry()


@emits("relax.reshape", "relax.expand_dims", "relax.squeeze", "relax.nn.batch_flatten")
def reshape(g: OnnxEmitter, n: Node) -> Value:
    """All change the shape alone, which is known."""
    return g.node("Reshape", [n.args[0], g.ints(n.type.shape)], n.type)


@emits("relax.permute_dims")
def permute_dims(g: OnnxEmitter, n: Node) -> Value:
    """Transpose; no axes means all of them reversed."""
    axes = n.attrs["axes"]
    return g.node("Transpose", n.args, n.type, perm=list(axes) if axes else None)


@emits("relax.broadcast_to")
def broadcast_to(g: OnnxEmitter, n: Node) -> Value:
    """Expand."""
    return g.node("Expand", [n.args[0], g.ints(n.type.shape)], n.type)


@emits("relax.concat")
def concat(g: OnnxEmitter, n: Node) -> Value:
    """Join along an axis."""
    assert isinstance(n.args[0], tuple)
    return g.node("Concat", n.args[0], n.type, axis=int(n.attrs["axis"] or 0))


@emits("relax.stack")
def stack(g: OnnxEmitter, n: Node) -> Value:
    """Join along a new axis."""
    assert isinstance(n.args[0], tuple)
    axis = int(n.attrs["axis"] or 0) % len(n.type.shape)
    shape = (*n.type.shape[:axis], 1, *n.type.shape[axis + 1 :])
    one = TensorType(shape, n.type.dtype)
    parts = [g.node("Unsqueeze", [part, g.ints([axis])], one) for part in n.args[0]]
    return g.node("Concat", parts, n.type, axis=axis)


@emits("relax.split")
def split(g: OnnxEmitter, n: Node) -> tuple[Value, ...]:
    """Split into the parts that Relax found."""
    axis = int(n.attrs["axis"])
    sizes = [t.shape[axis] for t in n.results]
    return g.nodes_of("Split", [n.args[0], g.ints(sizes)], n.results, axis=axis)


@emits("relax.strided_slice")
def strided_slice(g: OnnxEmitter, n: Node) -> Value:
    """x[begin:end:stride] along the axes given."""
    x, axes, begin, end, *rest = n.args
    lists = [_ints(v) for v in (begin, end, axes)]
    strides = _ints(rest[0]) if rest else [1] * len(lists[2])
    # one before the first element, for a negative stride, is further back than ONNX counts
    ends = [-(1 << 31) if s < 0 and e < 0 else e for e, s in zip(lists[1], strides, strict=True)]
    return g.node("Slice", [x, *map(g.ints, (lists[0], ends, lists[2], strides))], n.type)


def _ints(values: object) -> list[int]:
    assert isinstance(values, tuple)
    return [int(v) for v in values]


@emits("relax.tile")
def tile(g: OnnxEmitter, n: Node) -> Value:
    """Repeat whole axes; leading axes are added where there are more repeats."""
    x, repeats = g.value(n.args[0]), list(n.attrs["repeats"])
    missing = len(repeats) - len(x.type.shape)
    if missing > 0:
        shape = (*[1] * missing, *x.type.shape)
        x = g.node("Reshape", [x, g.ints(shape)], TensorType(shape, n.type.dtype))
    return g.node("Tile", [x, g.ints([*[1] * max(-missing, 0), *repeats])], n.type)


@emits("relax.repeat")
def repeat(g: OnnxEmitter, n: Node) -> Value:
    """Repeat every element along an axis: one gather."""
    x, axis, times = g.value(n.args[0]), n.attrs["axis"], int(n.attrs["repeats"])
    if axis is None:
        size = x.type.size
        x = g.node("Reshape", [x, g.ints([size])], TensorType((size,), n.type.dtype))
        axis = 0
    index = np.repeat(np.arange(x.type.shape[axis]), times)
    return g.node("Gather", [x, index.astype(np.int64)], n.type, axis=axis)


@emits("relax.flip")
def flip(g: OnnxEmitter, n: Node) -> Value:
    """Reverse one axis."""
    axis = int(n.attrs["axis"])
    lists = ([-1], [-(1 << 31)], [axis], [-1])
    return g.node("Slice", [n.args[0], *map(g.ints, lists)], n.type)


@emits("relax.nn.pad")
def pad(g: OnnxEmitter, n: Node) -> Value:
    """Constant, reflected or repeated borders."""
    widths, mode = list(n.attrs["pad_width"]), n.attrs["pad_mode"]
    pads = g.ints([*widths[::2], *widths[1::2]])
    value = np.array(n.attrs["pad_value"], n.type.dtype) if mode == "constant" else None
    names = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "edge": "edge"}
    args = [n.args[0], pads] if value is None else [n.args[0], pads, value]
    return g.node("Pad", args, n.type, mode=names[mode])


@emits("relax.full", "relax.zeros", "relax.ones", "relax.full_like", "relax.zeros_like",
       "relax.ones_like")  # fmt: skip
def full(g: OnnxEmitter, n: Node) -> Value:
    """A constant tensor, spread by the graph and not stored."""
    if n.op.startswith("relax.full"):
        fill = n.args[1]
    else:
        fill = np.array(1 if "ones" in n.op else 0, n.type.dtype)
    scalar = g.node("Reshape", [fill, g.ints([1])], TensorType((1,), n.type.dtype))
    return g.node("Expand", [scalar, g.ints(n.type.shape)], n.type)


@emits("relax.arange")
def arange(g: OnnxEmitter, n: Node) -> Value:
    """Numbers from start below stop."""
    start, stop, step = n.args
    return g.value(np.arange(start, stop, step).astype(n.type.dtype))  # type: ignore[arg-type]


@emits("relax.tril", "relax.triu")
def triangle(g: OnnxEmitter, n: Node) -> Value:
    """The part of a matrix on one side of a diagonal."""
    return g.node("Trilu", [n.args[0], np.array(n.args[1], np.int64)], n.type,
                  upper=int(n.op.endswith("u")))  # fmt: skip


@emits("relax.nn.pixel_shuffle")
def pixel_shuffle(g: OnnxEmitter, n: Node) -> Value:
    """Channels to space, in torch's order of channels."""
    return g.node("DepthToSpace", n.args, n.type,
                  blocksize=int(n.attrs["upscale_factor"]), mode="CRD")  # fmt: skip
