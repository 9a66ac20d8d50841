"""Products, convolutions, pooling, normalization, attention."""

from __future__ import annotations

import math

import numpy as np

from millijoule.converters.ops import TensorType
from millijoule.errors import UnsupportedError
from millijoule.targets.coreml.builder import MilEmitter
from millijoule.targets.coreml.emit.shapes import ints
from millijoule.targets.graph import Arg, Node, Value
from millijoule.targets.graph.node import Registry

emits = Registry()


@emits("relax.matmul")
def matmul(g: MilEmitter, n: Node) -> Value:
    """Matrix product; a vector gets an axis of one and loses it again."""
    x, y = n.args
    shapes = [g.shape(x), g.shape(y)]
    if len(shapes[0]) == 1:
        x = g.op("expand_dims", n.type, x=x, axes=ints((0,)))
    if len(shapes[1]) == 1:
        y = g.op("expand_dims", n.type, x=y, axes=ints((1,)))
    z = g.op("matmul", n.type, x=x, y=y)
    if min(len(s) for s in shapes) == 1:
        return g.op("reshape", n.type, x=z, shape=ints(n.type.shape))
    return z


def _channels_first(n: Node, layout: str) -> None:
    if not layout.startswith("NC"):
        raise UnsupportedError(f"[coreml] {n.op} of layer {n.layer!r} has layout {layout}, not NC…")


def _pads(padding: tuple[int, ...]) -> np.ndarray:
    """(before…, after…) → before and after of every axis in turn."""
    half = len(padding) // 2
    return ints(tuple(padding[i // 2 + half * (i % 2)] for i in range(2 * half)))


@emits("relax.nn.conv1d", "relax.nn.conv2d", "relax.nn.conv3d")
def conv(g: MilEmitter, n: Node) -> Value:
    """Convolution of any number of spatial axes."""
    _channels_first(n, n.attrs["data_layout"])
    x, w = n.args
    return g.op("conv", n.type, x=x, weight=w, strides=ints(n.attrs["strides"]), pad_type="custom",
                pad=_pads(n.attrs["padding"]), dilations=ints(n.attrs["dilation"]),
                groups=int(n.attrs["groups"]))  # fmt: skip


@emits("relax.nn.conv1d_transpose", "relax.nn.conv2d_transpose")
def conv_transpose(g: MilEmitter, n: Node) -> Value:
    """Transposed convolution."""
    _channels_first(n, n.attrs["data_layout"])
    x, w = n.args
    return g.op("conv_transpose", n.type, x=x, weight=w, strides=ints(n.attrs["strides"]),
                pad_type="custom", pad=_pads(n.attrs["padding"]),
                dilations=ints(n.attrs["dilation"]), groups=int(n.attrs["groups"]),
                output_shape=ints(n.type.shape))  # fmt: skip


@emits("relax.nn.max_pool1d", "relax.nn.max_pool2d", "relax.nn.avg_pool1d", "relax.nn.avg_pool2d")
def pool(g: MilEmitter, n: Node) -> Value:
    """Maximum or mean of windows."""
    _channels_first(n, n.attrs["layout"])
    if any(int(d) != 1 for d in n.attrs["dilation"]):
        raise UnsupportedError(f"[coreml] pooling of layer {n.layer!r} is dilated")
    average = "avg" in n.op
    more = {"exclude_padding_from_average": not n.attrs["count_include_pad"]} if average else {}
    return g.op("avg_pool" if average else "max_pool", n.type, x=n.args[0],
                kernel_sizes=ints(n.attrs["pool_size"]), strides=ints(n.attrs["strides"]),
                pad_type="custom", pad=_pads(n.attrs["padding"]),
                ceil_mode=bool(n.attrs["ceil_mode"]), **more)  # fmt: skip


@emits("relax.nn.adaptive_avg_pool1d", "relax.nn.adaptive_avg_pool2d")
def adaptive_pool(g: MilEmitter, n: Node) -> Value:
    """Means of equal windows; sizes that do not divide have no form."""
    _channels_first(n, n.attrs["layout"])
    inner, outer = g.shape(n.args[0])[2:], n.type.shape[2:]
    if any(i % o for i, o in zip(inner, outer, strict=True)):
        raise UnsupportedError(
            f"[coreml] adaptive pooling of layer {n.layer!r} from {inner} to {outer} has windows of"
            " different sizes; use a size that divides"
        )
    window = ints(tuple(i // o for i, o in zip(inner, outer, strict=True)))
    return g.op("avg_pool", n.type, x=n.args[0], kernel_sizes=window, strides=window,
                pad_type="valid")  # fmt: skip


@emits("relax.nn.batch_norm")
def batch_norm(g: MilEmitter, n: Node) -> tuple[Value, ...]:
    """With the statistics of training; those come back unchanged."""
    x, *params = n.args
    gamma, beta, mean, var = (_array(p, n) for p in params)
    rank, axis = len(n.type.shape), int(n.attrs["axis"]) % len(n.type.shape)
    scale = gamma / np.sqrt(var + n.attrs["epsilon"])
    shape = [-1 if i == axis else 1 for i in range(rank)]
    factor, shift = (v.reshape(shape).astype(np.float32) for v in (scale, beta - mean * scale))
    y = g.op("add", n.type, x=g.op("mul", n.type, x=x, y=factor), y=shift)
    return y, y, y  # nobody reads the statistics of a model that is not trained


def _array(arg: Arg, n: Node) -> np.ndarray:
    if not isinstance(arg, np.ndarray):
        raise UnsupportedError(f"[coreml] parameters of layer {n.layer!r} must be constant")
    return arg.astype(np.float64)


@emits("relax.nn.layer_norm")
def layer_norm(g: MilEmitter, n: Node) -> Value:
    """Over the axes given, then scale and shift of these axes."""
    x, gamma, beta = n.args
    rank = len(n.type.shape)
    axes = ints(tuple(sorted(int(a) % rank for a in n.attrs["axes"])))
    epsilon = np.float32(n.attrs["epsilon"])
    if all(isinstance(p, np.ndarray) for p in (gamma, beta)):
        return g.op("layer_norm", n.type, x=x, axes=axes, gamma=gamma, beta=beta, epsilon=epsilon)
    y = g.op("layer_norm", n.type, x=x, axes=axes, epsilon=epsilon)
    return g.op("add", n.type, x=g.op("mul", n.type, x=y, y=gamma), y=beta)


@emits("relax.nn.rms_norm")
def rms_norm(g: MilEmitter, n: Node) -> Value:
    """x/√(mean x² + ε)·w."""
    x, weight = n.args
    rank = len(n.type.shape)
    axes = tuple(sorted(int(a) % rank for a in n.attrs["axes"]))
    kept = TensorType(tuple(1 if i in axes else d for i, d in enumerate(n.type.shape)), "float32")
    square = g.op("square", n.type, x=x)
    mean = g.op("reduce_mean", kept, x=square, axes=ints(axes), keep_dims=True)
    root = g.op("rsqrt", kept, x=mean, epsilon=np.float32(n.attrs["epsilon"]))
    return g.op("mul", n.type, x=g.op("mul", n.type, x=x, y=root), y=weight)


@emits("relax.nn.group_norm")
def group_norm(g: MilEmitter, n: Node) -> Value:
    """Every group normalized as one long row, then scale and shift of every channel."""
    x, gamma, beta = n.args
    batch, channels, *space = n.type.shape
    groups = int(n.attrs["num_groups"])
    shape = (batch, groups, n.type.size // (batch * groups))
    rows = g.op("reshape", n.type, x=x, shape=ints(shape))
    epsilon = np.float32(n.attrs["epsilon"])
    normal = g.op("layer_norm", n.type, x=rows, axes=ints((2,)), epsilon=epsilon)
    y = g.op("reshape", n.type, x=normal, shape=ints(n.type.shape))
    spread = ints((channels, *[1] * len(space)))
    factor, shift = (g.op("reshape", n.type, x=p, shape=spread) for p in (gamma, beta))
    return g.op("add", n.type, x=g.op("mul", n.type, x=y, y=factor), y=shift)


@emits("relax.nn.attention", "relax.nn.attention_bias")
def attention(g: MilEmitter, n: Node) -> Value:
    """softmax(q·kᵀ·scale + bias)·v for q, k, v [B, N, H, D]."""
    head, t = ints((0, 2, 1, 3)), n.type
    q, k, v = (g.op("transpose", t, x=a, perm=head) for a in n.args[:3])
    (_, queries, _, size), keys = g.shape(n.args[0]), g.shape(n.args[1])[1]
    scale = n.attrs["scale"]
    scale = 1 / math.sqrt(size) if scale is None else float(scale)
    scores = g.op("matmul", t, x=q, y=k, transpose_y=True)
    scores = g.op("mul", t, x=scores, y=np.float32(scale))
    if len(n.args) > 3:
        scores = g.op("add", t, x=scores, y=n.args[3])
    causal = n.attrs["causal_mask"]
    if causal:
        offset = keys - queries if causal == "BottomRight" else 0
        hidden = np.triu(np.full((queries, keys), -3e4, np.float32), 1 + offset)  # fits float16
        scores = g.op("add", t, x=scores, y=hidden)
    weights = g.op("softmax", t, x=scores, axis=-1)
    return g.op("transpose", t, x=g.op("matmul", t, x=weights, y=v), perm=head)
