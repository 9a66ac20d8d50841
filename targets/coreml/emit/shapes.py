"""Operators that move values without changing them."""

from __future__ import annotations

import numpy as np
from coremltools.converters.mil import Builder as mb  # noqa: N813 - its usual name

from millijoule.converters.ops import TensorType
from millijoule.errors import UnsupportedError
from millijoule.targets.coreml.builder import MilEmitter
from millijoule.targets.graph import Arg, Node, Value
from millijoule.targets.graph.node import Registry

emits = Registry()


def ints(values: Arg) -> np.ndarray:
    """A list of int32, as MIL wants shapes and axes."""
    return np.array(values, np.int32)


@emits("relax.reshape", "relax.expand_dims", "relax.squeeze", "relax.nn.batch_flatten")
def reshape(g: MilEmitter, n: Node) -> Value:
    """All change the shape alone, which is known; a scalar is the squeeze of a list of one."""
    if not n.type.shape:
        one = g.op("reshape", n.type, x=n.args[0], shape=ints((1,)))
        return g.op("squeeze", n.type, x=one, axes=ints((0,)))
    return g.op("reshape", n.type, x=n.args[0], shape=ints(n.type.shape))


@emits("relax.permute_dims")
def permute_dims(g: MilEmitter, n: Node) -> Value:
    """Transpose; no axes means all of them reversed."""
    axes = n.attrs["axes"] or tuple(range(len(n.type.shape)))[::-1]
    return g.op("transpose", n.type, x=n.args[0], perm=ints(axes))


@emits("relax.broadcast_to")
def broadcast_to(g: MilEmitter, n: Node) -> Value:
    """Tiles of the axes of one."""
    shape = n.type.shape
    padded = (*[1] * (len(shape) - len(g.shape(n.args[0]))), *g.shape(n.args[0]))
    x = g.op("reshape", n.type, x=n.args[0], shape=ints(padded))
    reps = [d if p == 1 else 1 for d, p in zip(shape, padded, strict=True)]
    return g.op("tile", n.type, x=x, reps=ints(tuple(reps)))


def _joined(g: MilEmitter, n: Node, op: str, axis: int) -> Value:
    """Operands side by side; truth values as numbers, which is all that MIL joins."""
    assert isinstance(n.args[0], tuple)
    values = [g.handle(a) for a in n.args[0]]
    if n.type.dtype != "bool":
        return g.op(op, n.type, values=values, axis=axis)
    numbers = [mb.cast(x=value, dtype="int32") for value in values]
    return g.op("cast", n.type, x=g.op(op, n.type, values=numbers, axis=axis), dtype="bool")


@emits("relax.concat")
def concat(g: MilEmitter, n: Node) -> Value:
    """Join along an axis."""
    return _joined(g, n, "concat", int(n.attrs["axis"] or 0))


@emits("relax.stack")
def stack(g: MilEmitter, n: Node) -> Value:
    """Join along a new axis."""
    return _joined(g, n, "stack", int(n.attrs["axis"] or 0) % len(n.type.shape))


@emits("relax.split")
def split(g: MilEmitter, n: Node) -> tuple[Value, ...]:
    """Split into the parts that Relax found."""
    axis = int(n.attrs["axis"])
    sizes = ints(tuple(t.shape[axis] for t in n.results))
    if len(sizes) == 1:
        return (g.op("identity", n.type, x=n.args[0]),)
    return g.ops("split", n.results, x=n.args[0], split_sizes=sizes, axis=axis)


@emits("relax.strided_slice")
def strided_slice(g: MilEmitter, n: Node) -> Value:
    """x[begin:end:stride] along the axes given, all else whole."""
    x, axes, begin, end, *rest = n.args
    shape = g.shape(x)
    strides = rest[0] if rest else (1,) * len(axes)  # type: ignore[arg-type]
    low, high, step = [0] * len(shape), list(shape), [1] * len(shape)
    for axis, b, e, s in zip(axes, begin, end, strides, strict=True):  # type: ignore[arg-type]
        start, stop, stride = slice(b, min(e, shape[axis]), s).indices(shape[axis])
        low[axis], high[axis], step[axis] = start, stop, stride
    mask = [stop < 0 for stop in high]  # down to and including the first element
    return g.op("slice_by_index", n.type, x=x, begin=ints(tuple(low)),
                end=ints(tuple(max(h, 0) for h in high)), stride=ints(tuple(step)),
                end_mask=np.array(mask))  # fmt: skip


@emits("relax.tile")
def tile(g: MilEmitter, n: Node) -> Value:
    """Repeat whole axes; leading axes are added where there are more repeats."""
    shape, repeats = g.shape(n.args[0]), list(n.attrs["repeats"])
    missing = len(repeats) - len(shape)
    x = n.args[0]
    if missing > 0:
        x = g.op("reshape", n.type, x=x, shape=ints((*[1] * missing, *shape)))
    return g.op("tile", n.type, x=x, reps=ints((*[1] * max(-missing, 0), *repeats)))


@emits("relax.repeat")
def repeat(g: MilEmitter, n: Node) -> Value:
    """Repeat every element along an axis: one gather."""
    x, axis, times = n.args[0], n.attrs["axis"], int(n.attrs["repeats"])
    shape = g.shape(x)
    if axis is None:
        size = int(np.prod(shape))
        x, axis = g.op("reshape", n.type, x=x, shape=ints((size,))), 0
        shape = (size,)
    index = np.repeat(np.arange(shape[axis]), times).astype(np.int32)
    return g.op("gather", n.type, x=x, indices=index, axis=int(axis))


@emits("relax.flip")
def flip(g: MilEmitter, n: Node) -> Value:
    """Reverse one axis."""
    return g.op("reverse", n.type, x=n.args[0], axes=ints((int(n.attrs["axis"]),)))


@emits("relax.nn.pad")
def pad(g: MilEmitter, n: Node) -> Value:
    """Constant, reflected or repeated borders."""
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "replicate"}
    if n.attrs["pad_mode"] not in mode:
        raise UnsupportedError(
            f"[coreml] padding of layer {n.layer!r} by {n.attrs['pad_mode']} has no form there"
        )
    return g.op("pad", n.type, x=n.args[0], pad=ints(n.attrs["pad_width"]),
                mode=mode[n.attrs["pad_mode"]],
                constant_val=np.array(n.attrs["pad_value"], n.type.dtype))  # fmt: skip


@emits("relax.full", "relax.zeros", "relax.ones", "relax.full_like", "relax.zeros_like",
       "relax.ones_like")  # fmt: skip
def full(g: MilEmitter, n: Node) -> Value:
    """A constant tensor."""
    fill = n.args[1] if n.op.startswith("relax.full") else (1 if "ones" in n.op else 0)
    if isinstance(fill, Value):
        raise UnsupportedError(f"[coreml] the number that fills layer {n.layer!r} must be constant")
    return constant(np.full(n.type.shape, np.asarray(fill), n.type.dtype), n.type)


def constant(array: np.ndarray, t: TensorType) -> Value:
    """``array`` as a tensor of its own."""
    narrow = {"int64": "int32", "uint8": "int32"}.get(str(array.dtype), str(array.dtype))
    return Value("const", t, mb.const(val=array.astype(narrow)))


@emits("relax.arange")
def arange(g: MilEmitter, n: Node) -> Value:
    """Numbers from start below stop."""
    start, stop, step = n.args
    return constant(np.arange(start, stop, step).astype(n.type.dtype), n.type)  # type: ignore


@emits("relax.tril", "relax.triu")
def triangle(g: MilEmitter, n: Node) -> Value:
    """The part of a matrix on one side of a diagonal: a choice by a constant mask."""
    keep = np.tril if n.op.endswith("l") else np.triu
    mask = keep(np.ones(n.type.shape[-2:], bool), n.args[1])  # type: ignore[arg-type]
    mask = np.broadcast_to(mask, n.type.shape).copy()
    zeros = np.zeros(n.type.shape, n.type.dtype)
    return g.op("select", n.type, cond=mask, a=n.args[0], b=zeros)


@emits("relax.nn.pixel_shuffle")
def pixel_shuffle(g: MilEmitter, n: Node) -> Value:
    """Channels to space, in torch's order of channels."""
    factor = int(n.attrs["upscale_factor"])
    return g.op("pixel_shuffle", n.type, x=n.args[0], upscale_factor=factor)
