"""Operators that move values without changing them."""

from __future__ import annotations

import numpy as np

from millijoule.converters.ops import TensorType
from millijoule.errors import UnsupportedError
from millijoule.targets.graph import Arg, Node, Value
from millijoule.targets.graph.node import Registry
from millijoule.targets.litert.builder import LitertEmitter

emits = Registry()


@emits("relax.reshape", "relax.expand_dims", "relax.squeeze", "relax.nn.batch_flatten")
def reshape(g: LitertEmitter, n: Node) -> Value:
    """All change the shape alone, which is known."""
    return g.op("RESHAPE", [n.args[0], g.ints(n.type.shape)], n.type)


@emits("relax.permute_dims")
def permute_dims(g: LitertEmitter, n: Node) -> Value:
    """TRANSPOSE; no axes means all of them reversed."""
    axes = n.attrs["axes"] or range(len(n.type.shape))[::-1]
    return g.op("TRANSPOSE", [n.args[0], g.ints([int(a) for a in axes])], n.type)


@emits("relax.broadcast_to")
def broadcast_to(g: LitertEmitter, n: Node) -> Value:
    """BROADCAST_TO."""
    return g.op("BROADCAST_TO", [n.args[0], g.ints(n.type.shape)], n.type)


@emits("relax.concat")
def concat(g: LitertEmitter, n: Node) -> Value:
    """Join along an axis."""
    assert isinstance(n.args[0], tuple)
    return g.op("CONCATENATION", n.args[0], n.type, axis=int(n.attrs["axis"] or 0))


@emits("relax.stack")
def stack(g: LitertEmitter, n: Node) -> Value:
    """Join along a new axis."""
    assert isinstance(n.args[0], tuple)
    axis = int(n.attrs["axis"] or 0) % len(n.type.shape)
    return g.op("PACK", n.args[0], n.type, axis=axis, valuesCount=len(n.args[0]))


@emits("relax.split")
def split(g: LitertEmitter, n: Node) -> tuple[Value, ...]:
    """Split into the parts that Relax found."""
    axis = int(n.attrs["axis"])
    sizes = g.ints([t.shape[axis] for t in n.results])
    where = g.value(np.array(axis, np.int32))
    return g.ops("SPLIT_V", [n.args[0], sizes, where], n.results, numSplits=len(n.results))


@emits("relax.strided_slice")
def strided_slice(g: LitertEmitter, n: Node) -> Value:
    """x[begin:end:stride] along the axes given, all else whole."""
    x, axes, begin, end, *rest = n.args
    shape = g.value(x).type.shape
    given = [_ints(v) for v in (axes, begin, end)]
    strides = _ints(rest[0]) if rest else [1] * len(given[0])
    low, high, step = [0] * len(shape), list(shape), [1] * len(shape)
    for axis, b, e, s in zip(*given, strides, strict=True):
        start, stop, stride = slice(b, min(e, shape[axis]), s).indices(shape[axis])
        low[axis], high[axis], step[axis] = start, stop, stride
    return g.op("STRIDED_SLICE", [x, *map(g.ints, (low, high, step))], n.type,
                endMask=_mask(high))  # fmt: skip


def _mask(ends: list[int]) -> int:
    """Bits of axes that go down to and include the first element."""
    return sum(1 << axis for axis, end in enumerate(ends) if end < 0)


def _ints(values: Arg) -> list[int]:
    assert isinstance(values, tuple)
    return [int(v) for v in values]  # type: ignore[arg-type]


@emits("relax.tile")
def tile(g: LitertEmitter, n: Node) -> Value:
    """Repeat whole axes; leading axes are added where there are more repeats."""
    x, repeats = g.value(n.args[0]), list(n.attrs["repeats"])
    missing = len(repeats) - len(x.type.shape)
    if missing > 0:
        shape = TensorType((*[1] * missing, *x.type.shape), n.type.dtype)
        x = g.op("RESHAPE", [x, g.ints(shape.shape)], shape)
    return g.op("TILE", [x, g.ints([*[1] * max(-missing, 0), *repeats])], n.type)


@emits("relax.repeat")
def repeat(g: LitertEmitter, n: Node) -> Value:
    """Repeat every element along an axis: one gather."""
    x, axis, times = g.value(n.args[0]), n.attrs["axis"], int(n.attrs["repeats"])
    if axis is None:
        flat = TensorType((x.type.size,), n.type.dtype)
        x, axis = g.op("RESHAPE", [x, g.ints(flat.shape)], flat), 0
    index = np.repeat(np.arange(x.type.shape[axis]), times)
    return g.op("GATHER", [x, index.astype(np.int32)], n.type, axis=int(axis))


@emits("relax.flip")
def flip(g: LitertEmitter, n: Node) -> Value:
    """Reverse one axis."""
    return g.op("REVERSE_V2", [n.args[0], g.ints([int(n.attrs["axis"])])], n.type)


@emits("relax.nn.pad")
def pad(g: LitertEmitter, n: Node) -> Value:
    """Constant or reflected borders."""
    widths = np.array(n.attrs["pad_width"], np.int32).reshape(-1, 2)
    mode = n.attrs["pad_mode"]
    if mode == "reflect":
        return g.op("MIRROR_PAD", [n.args[0], widths], n.type, mode=0)
    if mode != "constant":
        raise UnsupportedError(f"[litert] padding of layer {n.layer!r} by {mode} has no form there")
    value = np.array(n.attrs["pad_value"], n.type.dtype)
    return g.op("PADV2", [n.args[0], widths, value], n.type)


@emits("relax.full", "relax.zeros", "relax.ones", "relax.full_like", "relax.zeros_like",
       "relax.ones_like")  # fmt: skip
def full(g: LitertEmitter, n: Node) -> Value:
    """A constant tensor, spread by the graph and not stored."""
    if n.op.startswith("relax.full"):
        fill = n.args[1]
    else:
        fill = np.array(1 if "ones" in n.op else 0, n.type.dtype)
    one = TensorType((1,), n.type.dtype)
    scalar = g.op("RESHAPE", [fill, g.ints([1])], one)
    return g.op("BROADCAST_TO", [scalar, g.ints(n.type.shape)], n.type)


@emits("relax.arange")
def arange(g: LitertEmitter, n: Node) -> Value:
    """Numbers from start below stop."""
    start, stop, step = n.args
    return g.value(np.arange(start, stop, step).astype(n.type.dtype))  # type: ignore[arg-type]


@emits("relax.tril", "relax.triu")
def triangle(g: LitertEmitter, n: Node) -> Value:
    """The part of a matrix on one side of a diagonal: a choice by a constant mask."""
    keep = np.tril if n.op.endswith("l") else np.triu
    mask = keep(np.ones(n.type.shape[-2:], bool), n.args[1])  # type: ignore[arg-type]
    mask = np.broadcast_to(mask, n.type.shape)
    return g.op("SELECT_V2", [mask, n.args[0], np.zeros((), n.type.dtype)], n.type)


@emits("relax.nn.pixel_shuffle")
def pixel_shuffle(g: LitertEmitter, n: Node) -> Value:
    """Channels to space, in torch's order of channels, by shapes alone."""
    r = int(n.attrs["upscale_factor"])
    batch, channels, height, width = n.type.shape
    split_ = TensorType((batch * channels, r, r, height // r * (width // r)), n.type.dtype)
    shape = (batch * channels, r, r, height // r, width // r)
    x = g.op("RESHAPE", [n.args[0], g.ints(shape)], TensorType(shape, split_.dtype))
    moved = tuple(shape[i] for i in (0, 3, 1, 4, 2))
    x = g.op("TRANSPOSE", [x, g.ints([0, 3, 1, 4, 2])], TensorType(moved, n.type.dtype))
    return g.op("RESHAPE", [x, g.ints(n.type.shape)], n.type)
