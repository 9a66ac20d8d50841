"""Layers of MIL in NumPy: products, convolutions, pooling, normalization, resizing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

__all__ = ["LAYERS"]

Array = np.ndarray
ALL = (slice(None), slice(None))  # of batch and channels


def _wide(x: Any) -> Array:
    return np.asarray(x).astype(np.float32)


def _matmul(x: Array, y: Array, transpose_x: bool = False, transpose_y: bool = False) -> Array:
    a = np.swapaxes(x, -1, -2) if transpose_x else x
    b = np.swapaxes(y, -1, -2) if transpose_y else y
    return _wide(a) @ _wide(b)


def _linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    y = _wide(x) @ _wide(weight).T
    return y if bias is None else y + _wide(bias)


def _pads(pad_type: str, pad: Any, kernel: Sequence[int], strides: Sequence[int],
          size: Sequence[int]) -> list[tuple[int, int]]:  # fmt: skip
    """(before, after) of every spatial axis."""
    if str(pad_type) == "custom":
        pairs = np.asarray(pad).reshape(-1, 2)
        return [(int(a), int(b)) for a, b in pairs]
    if str(pad_type) == "valid":
        return [(0, 0)] * len(kernel)
    if str(pad_type) != "same":
        raise NotImplementedError(f"padding {pad_type}")
    totals = [
        max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(size, kernel, strides, strict=True)
    ]
    return [(t // 2, t - t // 2) for t in totals]


def _windows(
    x: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int],
    pads: Sequence[tuple[int, int]], fill: float, ceil_mode: bool = False,
) -> Array:  # fmt: skip
    """[B, C, space…, kernel…] of the windows of x [B, C, space…]."""
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    widths = [[before, after] for before, after in pads]
    if ceil_mode:
        for axis, (span, stride) in enumerate(zip(spans, strides, strict=True)):
            size = x.shape[2 + axis] + sum(widths[axis])
            widths[axis][1] += -(size - span) % stride
    padded = np.pad(x, [(0, 0), (0, 0), *widths], constant_values=fill)
    axes = tuple(range(2, x.ndim))
    view = sliding_window_view(padded, spans, axis=axes)
    steps = tuple(slice(None, None, s) for s in strides)
    taps = tuple(slice(None, None, d) for d in dilations)
    return view[ALL + steps + taps]


def _conv(
    x: Array, weight: Array, bias: Array | None = None, strides: Any = None,
    pad_type: str = "valid", pad: Any = None, dilations: Any = None, groups: int = 1,
) -> Array:  # fmt: skip
    kernel = weight.shape[2:]
    rank = len(kernel)
    step = [1] * rank if strides is None else [int(s) for s in strides]
    gap = [1] * rank if dilations is None else [int(d) for d in dilations]
    pads = _pads(pad_type, pad, kernel, step, x.shape[2:])
    view = _windows(_wide(x), kernel, step, gap, pads, 0.0)
    space = view.shape[2 : 2 + rank]
    count, inputs = int(groups), weight.shape[1]
    # [B, groups, inputs, space, taps] · [groups, outputs, inputs, taps]
    cols = view.reshape(x.shape[0], count, inputs, int(np.prod(space)), -1)
    w = _wide(weight).reshape(count, weight.shape[0] // count, inputs, -1)
    y = np.einsum("bgisk,goik->bgos", cols, w, optimize=True)
    y = y.reshape(x.shape[0], weight.shape[0], *space)
    return y if bias is None else y + _wide(bias).reshape(-1, *[1] * rank)


def _conv_transpose(
    x: Array, weight: Array, bias: Array | None = None, strides: Any = None,
    pad_type: str = "valid", pad: Any = None, dilations: Any = None, groups: int = 1,
    output_shape: Any = None,
) -> Array:  # fmt: skip
    """Every input adds its kernel to the output; then the borders go."""
    kernel = weight.shape[2:]
    rank = len(kernel)
    step = [1] * rank if strides is None else [int(s) for s in strides]
    gap = [1] * rank if dilations is None else [int(d) for d in dilations]
    if int(groups) != 1:
        raise NotImplementedError("grouped conv_transpose")
    size = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(x.shape[2:], step, kernel, gap, strict=True)
    ]
    whole = np.zeros((x.shape[0], weight.shape[1], *size), np.float32)
    for tap in np.ndindex(*kernel):
        part = np.einsum("bi...,io->bo...", _wide(x), _wide(weight)[ALL + tap])
        place = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, gap, x.shape[2:], step, strict=True)
        )
        whole[ALL + place] += part
    pads = _pads(pad_type, pad, kernel, step, x.shape[2:]) if pad is not None else [(0, 0)] * rank
    cut = tuple(slice(a, n - b) for (a, b), n in zip(pads, size, strict=True))
    y = whole[ALL + cut]
    return y if bias is None else y + _wide(bias).reshape(-1, *[1] * rank)


def _pool(average: bool) -> Callable[..., Array]:
    def pool(
        x: Array, kernel_sizes: Any, strides: Any = None, pad_type: str = "valid", pad: Any = None,
        ceil_mode: bool = False, exclude_padding_from_average: bool = False,
    ) -> Array:  # fmt: skip
        kernel = [int(k) for k in kernel_sizes]
        step = [1] * len(kernel) if strides is None else [int(s) for s in strides]
        pads = _pads(pad_type, pad, kernel, step, x.shape[2:])
        one, axes = [1] * len(kernel), tuple(range(-len(kernel), 0))
        fill = 0.0 if average else -np.inf
        view = _windows(_wide(x), kernel, step, one, pads, fill, bool(ceil_mode))
        if not average:
            return view.max(axes)
        if not exclude_padding_from_average:
            return view.mean(axes)
        real = _windows(np.ones_like(x, np.float32), kernel, step, one, pads, 0.0, bool(ceil_mode))
        return view.sum(axes) / real.sum(axes)

    return pool


def _layer_norm(
    x: Array, axes: Any, gamma: Array | None = None, beta: Array | None = None,
    epsilon: float = 1e-5,
) -> Array:  # fmt: skip
    wide, along = _wide(x), tuple(int(a) for a in axes)
    centred = wide - wide.mean(along, keepdims=True)
    y = centred / np.sqrt((centred * centred).mean(along, keepdims=True) + epsilon)
    y = y if gamma is None else y * _wide(gamma)
    return y if beta is None else y + _wide(beta)


def _batch_norm(
    x: Array, mean: Array, variance: Array, gamma: Array | None = None, beta: Array | None = None,
    epsilon: float = 1e-5,
) -> Array:  # fmt: skip
    shape = (-1, *[1] * (x.ndim - 2))
    y = (_wide(x) - _wide(mean).reshape(shape)) / np.sqrt(_wide(variance).reshape(shape) + epsilon)
    y = y if gamma is None else y * _wide(gamma).reshape(shape)
    return y if beta is None else y + _wide(beta).reshape(shape)


def _nearest(x: Array, scale_factor_height: float, scale_factor_width: float) -> Array:
    return x.repeat(int(scale_factor_height), 2).repeat(int(scale_factor_width), 3)


def _places(size: int, target: int, mode: str) -> Array:
    """Where the samples of the target lie in the source."""
    i = np.arange(target)
    if mode == "STRICT_ALIGN_CORNERS" and target > 1:
        return i * (size - 1) / (target - 1)
    if mode == "UNALIGN_CORNERS":
        return np.clip((i + 0.5) * size / target - 0.5, 0, size - 1)
    return np.minimum(i * size / target, size - 1)


def _bilinear(
    x: Array, target_size_height: int, target_size_width: int, sampling_mode: str = "DEFAULT"
) -> Array:
    y = _wide(x)
    for axis, target in ((2, int(target_size_height)), (3, int(target_size_width))):
        at = _places(y.shape[axis], target, str(sampling_mode))
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, y.shape[axis] - 1)
        part = (at - low).reshape([-1 if a == axis else 1 for a in range(4)])
        y = y.take(low, axis) * (1 - part) + y.take(high, axis) * part
    return y


LAYERS: dict[str, Callable[..., Any]] = {
    "avg_pool": _pool(True),
    "batch_norm": _batch_norm,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "layer_norm": _layer_norm,
    "linear": _linear,
    "matmul": _matmul,
    "max_pool": _pool(False),
    "resize_bilinear": _bilinear,
    "upsample_nearest_neighbor": _nearest,
}
