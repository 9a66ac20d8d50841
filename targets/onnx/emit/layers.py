"""Products, convolutions, pooling, normalization, attention."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from millijoule.converters.ops import TensorType
from millijoule.errors import UnsupportedError
from millijoule.targets.graph import Arg, Node, Value
from millijoule.targets.graph.node import Registry
from millijoule.targets.onnx.builder import OnnxEmitter

emits = Registry()


@emits("relax.matmul")
def matmul(g: OnnxEmitter, n: Node) -> Value:
    """Matrix product of the last two axes."""
    return g.node("MatMul", n.args, n.type)


def _channels_first(n: Node, layout: str) -> None:
    """Graphs are written before any layout pass, so that channels come second."""
    if not layout.startswith("NC"):
        raise UnsupportedError(f"[onnx] {n.op} of layer {n.layer!r} has layout {layout}, not NC…")


@emits("relax.nn.conv1d", "relax.nn.conv2d", "relax.nn.conv3d")
def conv(g: OnnxEmitter, n: Node) -> Value:
    """Convolution of any number of spatial axes."""
    _channels_first(n, n.attrs["data_layout"])
    return g.node(
        "Conv",
        n.args,
        n.type,
        strides=list(n.attrs["strides"]),
        pads=list(n.attrs["padding"]),
        dilations=list(n.attrs["dilation"]),
        group=int(n.attrs["groups"]),
    )


@emits("relax.nn.conv1d_transpose", "relax.nn.conv2d_transpose")
def conv_transpose(g: OnnxEmitter, n: Node) -> Value:
    """Transposed convolution."""
    _channels_first(n, n.attrs["data_layout"])
    return g.node(
        "ConvTranspose",
        n.args,
        n.type,
        strides=list(n.attrs["strides"]),
        pads=list(n.attrs["padding"]),
        output_padding=list(n.attrs["output_padding"]),
        dilations=list(n.attrs["dilation"]),
        group=int(n.attrs["groups"]),
    )


@emits("relax.nn.max_pool1d", "relax.nn.max_pool2d", "relax.nn.avg_pool1d", "relax.nn.avg_pool2d")
def pool(g: OnnxEmitter, n: Node) -> Value:
    """Maximum or mean of windows."""
    _channels_first(n, n.attrs["layout"])
    average = "avg" in n.op
    return g.node(
        "AveragePool" if average else "MaxPool",
        n.args,
        n.type,
        kernel_shape=list(n.attrs["pool_size"]),
        strides=list(n.attrs["strides"]),
        pads=list(n.attrs["padding"]),
        dilations=None if average else list(n.attrs["dilation"]),
        ceil_mode=int(n.attrs["ceil_mode"]),
        count_include_pad=int(n.attrs["count_include_pad"]) if average else None,
    )


@emits("relax.nn.adaptive_avg_pool1d", "relax.nn.adaptive_avg_pool2d")
def adaptive_pool(g: OnnxEmitter, n: Node) -> Value:
    """Means of equal windows; sizes that do not divide have no ONNX form."""
    _channels_first(n, n.attrs["layout"])
    inner, outer = g.value(n.args[0]).type.shape[2:], n.type.shape[2:]
    if any(i % o for i, o in zip(inner, outer, strict=True)):
        raise UnsupportedError(
            f"[onnx] adaptive pooling of layer {n.layer!r} from {inner} to {outer} has windows of "
            "different sizes; use a size that divides"
        )
    window = [i // o for i, o in zip(inner, outer, strict=True)]
    return g.node("AveragePool", n.args, n.type, kernel_shape=window, strides=window)


@emits("relax.nn.batch_norm")
def batch_norm(g: OnnxEmitter, n: Node) -> tuple[Value, ...]:
    """With the statistics of training; those come back unchanged."""
    x, gamma, beta, mean, var = n.args
    y = g.node(
        "BatchNormalization", [x, gamma, beta, mean, var], n.type, epsilon=n.attrs["epsilon"]
    )
    return y, g.value(mean), g.value(var)


@emits("relax.nn.layer_norm")
def layer_norm(g: OnnxEmitter, n: Node) -> Value:
    """Over the last axes; scale and shift of one axis."""
    rank, axes = len(n.type.shape), sorted(a % len(n.type.shape) for a in n.attrs["axes"])
    if axes != list(range(axes[0], rank)):
        raise UnsupportedError(f"[onnx] layer norm {n.layer!r} must be over the last axes")
    return g.node(
        "LayerNormalization", n.args, n.type, axis=axes[0] - rank, epsilon=n.attrs["epsilon"]
    )


@emits("relax.nn.rms_norm")
def rms_norm(g: OnnxEmitter, n: Node) -> Value:
    """x/√(mean x² + ε)·w."""
    x, weight = n.args
    axes = [int(a) for a in n.attrs["axes"]]
    square = g.node("Mul", [x, x], n.type)
    rank = len(n.type.shape)
    last = {a % rank for a in axes}
    kept = TensorType(
        tuple(1 if i in last else d for i, d in enumerate(n.type.shape)), n.type.dtype
    )
    mean = g.node("ReduceMean", [square], kept, axes=axes, keepdims=1)
    eps = np.array(n.attrs["epsilon"], n.type.dtype)
    root = g.node("Sqrt", [g.node("Add", [mean, eps], kept)], kept)
    return g.node("Mul", [g.node("Div", [x, root], n.type), weight], n.type)


@emits("relax.nn.group_norm")
def group_norm(g: OnnxEmitter, n: Node) -> Value:
    """Groups as instances of one long axis, then scale and shift of every channel."""
    x, gamma, beta = n.args
    batch, channels, *space = n.type.shape
    groups = int(n.attrs["num_groups"])
    flat = TensorType((batch, groups, n.type.size // (batch * groups)), n.type.dtype)
    rows = g.node("Reshape", [x, g.ints(flat.shape)], flat)
    one, none = (np.full(groups, v, n.type.dtype) for v in (1, 0))
    normal = g.node("InstanceNormalization", [rows, one, none], flat, epsilon=n.attrs["epsilon"])
    y = g.node("Reshape", [normal, g.ints(n.type.shape)], n.type)
    spread = (channels, *[1] * len(space))
    return _affine(g, y, (gamma, beta), spread, n.type)


def _affine(
    g: OnnxEmitter, y: Value, params: Sequence[Arg], spread: tuple[int, ...], t: TensorType
) -> Value:
    """y·γ + β with both spread over the axes behind the channels."""
    for op, value in zip(("Mul", "Add"), params, strict=True):
        shaped = g.node("Reshape", [value, g.ints(spread)], TensorType(spread, t.dtype))
        y = g.node(op, [y, shaped], t)
    return y


@emits("relax.nn.prelu")
def prelu(g: OnnxEmitter, n: Node) -> Value:
    """x where positive, else a slope of its channel times x."""
    x, slope = n.args
    axis = int(n.attrs["axis"]) % len(n.type.shape)
    shape = (g.value(slope).type.size, *[1] * (len(n.type.shape) - axis - 1))
    spread = g.node("Reshape", [slope, g.ints(shape)], TensorType(shape, n.type.dtype))
    return g.node("PRelu", [x, spread], n.type)


@emits("relax.nn.attention", "relax.nn.attention_bias")
def attention(g: OnnxEmitter, n: Node) -> Value:
    """softmax(q·kᵀ·scale + bias)·v for q, k, v [B, N, H, D]."""
    q, k, v = (g.value(a) for a in n.args[:3])
    batch, queries, heads, size = q.type.shape
    keys, dtype = k.type.shape[1], n.type.dtype
    scale = n.attrs["scale"]
    scale = 1 / math.sqrt(size) if scale is None else float(scale)
    head = [0, 2, 1, 3]
    qt = g.node("Transpose", [q], TensorType((batch, heads, queries, size), dtype), perm=head)
    kt = g.node("Transpose", [k], TensorType((batch, heads, size, keys), dtype), perm=[0, 2, 3, 1])
    vt = g.node("Transpose", [v], TensorType((batch, heads, keys, size), dtype), perm=head)
    grid = TensorType((batch, heads, queries, keys), dtype)
    scores = g.node("MatMul", [qt, kt], grid)
    scores = g.node("Mul", [scores, np.array(scale, dtype)], grid)
    if len(n.args) > 3:
        scores = g.node("Add", [scores, n.args[3]], grid)
    causal = n.attrs["causal_mask"]
    if causal:
        offset = keys - queries if causal == "BottomRight" else 0
        hidden = np.triu(np.full((queries, keys), -np.inf, dtype), 1 + offset)
        scores = g.node("Add", [scores, hidden], grid)
    weights = g.node("Softmax", [scores], grid, axis=-1)
    out = g.node(
        "MatMul", [weights, vt], TensorType((batch, heads, queries, v.type.shape[3]), dtype)
    )
    return g.node("Transpose", [out], n.type, perm=head)
