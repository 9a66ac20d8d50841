"""Products, convolutions, pooling, normalization, attention."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from millijoule.converters.ops import TensorType
from millijoule.errors import UnsupportedError
from millijoule.targets.graph import Arg, Node, Value
from millijoule.targets.graph.node import Registry
from millijoule.targets.litert.builder import LitertEmitter

emits = Registry()

_VALID = 1  # Padding.VALID: borders are made in front


@emits("relax.matmul")
def matmul(g: LitertEmitter, n: Node) -> Value:
    """A fully connected layer where the weights are constant, else a batched product."""
    x, w = n.args
    # sums of int8 are wanted as they are; FULLY_CONNECTED would round them to int8
    exact = n.type.dtype == "int32"
    if isinstance(w, np.ndarray) and w.ndim == 2 and len(n.type.shape) >= 2 and not exact:
        return g.op("FULLY_CONNECTED", [x, np.ascontiguousarray(w.T), None], n.type,
                    keepNumDims=True)  # fmt: skip
    left, right = g.value(x), g.value(w)
    if len(left.type.shape) == 1:
        left = g.reshaped(left, (1, *left.type.shape))
    if len(right.type.shape) == 1:
        right = g.reshaped(right, (*right.type.shape, 1))
    batch = np.broadcast_shapes(left.type.shape[:-2], right.type.shape[:-2])
    shape = (*batch, left.type.shape[-2], right.type.shape[-1])
    y = g.op("BATCH_MATMUL", [left, right], TensorType(shape, n.type.dtype))
    return y if shape == n.type.shape else g.reshaped(y, n.type.shape)


def _padded(g: LitertEmitter, x: Value, widths: Sequence[Sequence[int]], value: float) -> Value:
    """``x`` between borders of ``value``."""
    if not any(any(pair) for pair in widths):
        return x
    shape = tuple(d + sum(pair) for d, pair in zip(x.type.shape, widths, strict=True))
    pads = np.array(widths, np.int32)
    fill = np.array(value, x.type.dtype)
    return g.op("PADV2", [x, pads, fill], TensorType(shape, x.type.dtype))


def _channels_last(g: LitertEmitter, n: Node, layout: str) -> Value:
    """The image [B, H, W, C]; a sequence [B, C, N] is one row of pixels."""
    if not layout.startswith("NC"):
        raise UnsupportedError(f"[litert] {n.op} of layer {n.layer!r} has layout {layout}, not NC…")
    x = g.value(n.args[0])
    if len(x.type.shape) == 3:
        batch, channels, steps = x.type.shape
        return g.reshaped(g.moved(x, [0, 2, 1]), (batch, 1, steps, channels))
    if len(x.type.shape) != 4:
        raise UnsupportedError(f"[litert] {n.op} of layer {n.layer!r} must have one or two axes")
    return g.moved(x, [0, 2, 3, 1])


def _channels_first(g: LitertEmitter, y: Value, t: TensorType) -> Value:
    """The way back to the layout of the model."""
    if len(t.shape) == 3:
        batch, channels, steps = t.shape
        return g.moved(g.reshaped(y, (batch, steps, channels)), [0, 2, 1])
    return g.moved(y, [0, 3, 1, 2])


def _two(values: Sequence[int], filler: int) -> list[int]:
    """Values of two axes; a sequence has a first axis of one."""
    listed = [int(v) for v in values]
    return listed if len(listed) == 2 else [filler, *listed]


def _borders(padding: Sequence[int]) -> list[list[int]]:
    """[B, H, W, C] widths of the padding (before…, after…)."""
    half = len(padding) // 2
    before, after = _two(padding[:half], 0), _two(padding[half:], 0)
    return [[0, 0], [before[0], after[0]], [before[1], after[1]], [0, 0]]


@emits("relax.nn.conv1d", "relax.nn.conv2d")
def conv(g: LitertEmitter, n: Node) -> Value:
    """CONV_2D, or DEPTHWISE_CONV_2D where every channel is its own group."""
    w = n.args[1]
    if not isinstance(w, np.ndarray):
        raise UnsupportedError(f"[litert] weights of layer {n.layer!r} must be constant")
    x = _padded(g, _channels_last(g, n, n.attrs["data_layout"]), _borders(n.attrs["padding"]), 0)
    kernel = w if w.ndim == 4 else w[:, :, None, :]  # OIHW
    outputs, _, height, width = kernel.shape
    groups, channels = int(n.attrs["groups"]), x.type.shape[-1]
    strides, dilation = _two(n.attrs["strides"], 1), _two(n.attrs["dilation"], 1)
    options = {"padding": _VALID, "strideH": strides[0], "strideW": strides[1],
               "dilationHFactor": dilation[0], "dilationWFactor": dilation[1]}  # fmt: skip
    space = n.type.shape[2:] if len(n.type.shape) == 4 else (1, n.type.shape[2])
    t = TensorType((n.type.shape[0], *space, outputs), n.type.dtype)
    zero = np.zeros(outputs, np.float32)
    if groups == channels and groups > 1:
        flat = kernel.reshape(outputs, height, width).transpose(1, 2, 0)[None]
        options["depthMultiplier"] = outputs // channels
        y = g.op("DEPTHWISE_CONV_2D", [x, np.ascontiguousarray(flat), zero], t, **options)
    else:
        ohwi = np.ascontiguousarray(kernel.transpose(0, 2, 3, 1))
        y = g.op("CONV_2D", [x, ohwi, zero], t, **options)
    return _channels_first(g, y, n.type)


@emits("relax.nn.max_pool1d", "relax.nn.max_pool2d", "relax.nn.avg_pool1d", "relax.nn.avg_pool2d")
def pool(g: LitertEmitter, n: Node) -> Value:
    """Maximum or mean of windows; a mean of the real pixels alone is corrected by a constant."""
    average = "avg" in n.op
    window, strides = _two(n.attrs["pool_size"], 1), _two(n.attrs["strides"], 1)
    plain = all(int(d) == 1 for d in n.attrs["dilation"]) and not n.attrs["ceil_mode"]
    if not plain:
        raise UnsupportedError(
            f"[litert] pooling of layer {n.layer!r} is dilated or rounds its size up; TFLite has"
            " neither"
        )
    source = _channels_last(g, n, n.attrs["layout"])
    widths = _borders(n.attrs["padding"])
    x = _padded(g, source, widths, 0.0 if average else float(np.finfo(np.float32).min))
    space = n.type.shape[2:] if len(n.type.shape) == 4 else (1, n.type.shape[2])
    t = TensorType((n.type.shape[0], *space, n.type.shape[1]), n.type.dtype)
    y = g.op(
        "AVERAGE_POOL_2D" if average else "MAX_POOL_2D", [x], t, padding=_VALID,
        filterHeight=window[0], filterWidth=window[1], strideH=strides[0], strideW=strides[1],
    )  # fmt: skip
    padded = any(any(pair) for pair in widths)
    if average and padded and not n.attrs["count_include_pad"]:
        y = g.op("MUL", [y, _share(source.type.shape, widths, window, strides, space)], t)
    return _channels_first(g, y, n.type)


def _share(
    shape: Sequence[int],
    widths: Sequence[Sequence[int]],
    window: Sequence[int],
    strides: Sequence[int],
    space: Sequence[int],
) -> np.ndarray:
    """Pixels of a window over its real pixels, [1, H, W, 1]."""
    real = np.pad(np.ones(shape[1:3]), widths[1:3])
    counts = [
        [
            real[i * strides[0] :, j * strides[1] :][: window[0], : window[1]].sum()
            for j in range(space[1])
        ]
        for i in range(space[0])
    ]
    return (math.prod(window) / np.array(counts, np.float32))[None, :, :, None].astype(np.float32)


@emits("relax.nn.adaptive_avg_pool1d", "relax.nn.adaptive_avg_pool2d")
def adaptive_pool(g: LitertEmitter, n: Node) -> Value:
    """Means of equal windows; sizes that do not divide have no form."""
    x = _channels_last(g, n, n.attrs["layout"])
    space = n.type.shape[2:] if len(n.type.shape) == 4 else (1, n.type.shape[2])
    if any(i % o for i, o in zip(x.type.shape[1:3], space, strict=True)):
        raise UnsupportedError(
            f"[litert] adaptive pooling of layer {n.layer!r} to {space} has windows of different"
            " sizes; use a size that divides"
        )
    window = [i // o for i, o in zip(x.type.shape[1:3], space, strict=True)]
    t = TensorType((n.type.shape[0], *space, n.type.shape[1]), n.type.dtype)
    y = g.op(
        "AVERAGE_POOL_2D", [x], t, padding=_VALID,
        filterHeight=window[0], filterWidth=window[1], strideH=window[0], strideW=window[1],
    )  # fmt: skip
    return _channels_first(g, y, n.type)


@emits("relax.nn.batch_norm")
def batch_norm(g: LitertEmitter, n: Node) -> tuple[Value, ...]:
    """x·s + t with s = γ/√(σ² + ε), t = β − μ·s, both calculated here; statistics unchanged."""
    x, *params = n.args
    gamma, beta, mean, var = (_constant(p, n) for p in params)
    scale = gamma / np.sqrt(var + n.attrs["epsilon"])
    axis, rank = int(n.attrs["axis"]), len(n.type.shape)
    shape = [-1 if i == axis % rank else 1 for i in range(rank)]
    factor, shift = ((v.reshape(shape)).astype(np.float32) for v in (scale, beta - mean * scale))
    y = g.op("ADD", [g.op("MUL", [x, factor], n.type), shift], n.type)
    return y, g.value(mean.astype(np.float32)), g.value(var.astype(np.float32))


def _constant(arg: Arg, n: Node) -> np.ndarray:
    if not isinstance(arg, np.ndarray):
        raise UnsupportedError(f"[litert] parameters of layer {n.layer!r} must be constant")
    return arg.astype(np.float64)


def _normal(g: LitertEmitter, x: Value, axes: Sequence[int], epsilon: float) -> Value:
    """(x − mean)/√(variance + ε) over ``axes``."""
    t = x.type
    kept = TensorType(tuple(1 if i in axes else d for i, d in enumerate(t.shape)), t.dtype)
    mean = g.op("MEAN", [x, g.ints(axes)], kept, keepDims=True)
    centred = g.op("SUB", [x, mean], t)
    square = g.op("MUL", [centred, centred], t)
    var = g.op("MEAN", [square, g.ints(axes)], kept, keepDims=True)
    root = g.op("RSQRT", [g.op("ADD", [var, np.float32(epsilon)], kept)], kept)
    return g.op("MUL", [centred, root], t)


@emits("relax.nn.layer_norm")
def layer_norm(g: LitertEmitter, n: Node) -> Value:
    """Over the axes given, then scale and shift of these axes."""
    x, gamma, beta = n.args
    rank = len(n.type.shape)
    y = _normal(g, g.value(x), sorted(int(a) % rank for a in n.attrs["axes"]), n.attrs["epsilon"])
    return g.op("ADD", [g.op("MUL", [y, gamma], n.type), beta], n.type)


@emits("relax.nn.rms_norm")
def rms_norm(g: LitertEmitter, n: Node) -> Value:
    """x/√(mean x² + ε)·w."""
    x, weight = n.args
    rank = len(n.type.shape)
    axes = sorted(int(a) % rank for a in n.attrs["axes"])
    shape = tuple(1 if i in axes else d for i, d in enumerate(n.type.shape))
    kept = TensorType(shape, n.type.dtype)
    square = g.op("MUL", [x, x], n.type)
    mean = g.op("MEAN", [square, g.ints(axes)], kept, keepDims=True)
    eps = np.float32(n.attrs["epsilon"])
    root = g.op("RSQRT", [g.op("ADD", [mean, eps], kept)], kept)
    return g.op("MUL", [g.op("MUL", [x, root], n.type), weight], n.type)


@emits("relax.nn.group_norm")
def group_norm(g: LitertEmitter, n: Node) -> Value:
    """Every group normalized as one long row, then scale and shift of every channel."""
    x, gamma, beta = n.args
    batch, channels, *space = n.type.shape
    groups = int(n.attrs["num_groups"])
    rows = g.reshaped(g.value(x), (batch, groups, n.type.size // (batch * groups)))
    y = g.reshaped(_normal(g, rows, [2], n.attrs["epsilon"]), n.type.shape)
    spread = (channels, *[1] * len(space))
    factor, shift = (g.reshaped(g.value(p), spread) for p in (gamma, beta))
    return g.op("ADD", [g.op("MUL", [y, factor], n.type), shift], n.type)


@emits("relax.nn.attention", "relax.nn.attention_bias")
def attention(g: LitertEmitter, n: Node) -> Value:
    """softmax(q·kᵀ·scale + bias)·v for q, k, v [B, N, H, D]."""
    q, k, v = (g.moved(g.value(a), [0, 2, 1, 3]) for a in n.args[:3])
    batch, heads, queries, size = q.type.shape
    keys, dtype = k.type.shape[2], n.type.dtype
    scale = n.attrs["scale"]
    scale = 1 / math.sqrt(size) if scale is None else float(scale)
    grid = TensorType((batch, heads, queries, keys), dtype)
    scores = g.op("BATCH_MATMUL", [q, k], grid, adjY=True)
    scores = g.op("MUL", [scores, np.float32(scale)], grid)
    if len(n.args) > 3:
        scores = g.op("ADD", [scores, n.args[3]], grid)
    causal = n.attrs["causal_mask"]
    if causal:
        offset = keys - queries if causal == "BottomRight" else 0
        hidden = np.triu(np.full((queries, keys), -1e30, np.float32), 1 + offset)
        scores = g.op("ADD", [scores, hidden], grid)
    weights = g.op("SOFTMAX", [scores], grid, beta=1.0)
    shape = TensorType((batch, heads, queries, v.type.shape[3]), dtype)
    return g.moved(g.op("BATCH_MATMUL", [weights, v], shape), [0, 2, 1, 3])
