"""Operators of MIL in NumPy: elementwise, shapes, indexing, reductions, and layers.

Arguments have MIL's own names. Products and sums of float16 are formed in float32 and rounded once,
as Core ML's documentation promises at least.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import erf as _erf
from typing import Any

import numpy as np

from .layers import LAYERS

__all__ = ["FUNCTIONS", "Held"]

Array = np.ndarray


@dataclass
class Held:
    """A state between predictions, rounded to float16 as Core ML keeps it."""

    value: Array


def _update(state: Held, value: Array) -> Array:
    state.value = np.asarray(value).astype(np.float16)
    return state.value


def _wide(x: Any) -> Array:
    """float16 as float32; all else as it is."""
    array = np.asarray(x)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _unary(function: Callable[[Array], Array]) -> Callable[..., Array]:
    return lambda x, **_: function(_wide(x))


def _binary(function: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    return lambda x, y, **_: function(_wide(x), _wide(y))


erf = np.vectorize(_erf, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _gelu(x: Array, mode: str = "EXACT") -> Array:
    x = _wide(x).astype(np.float64)
    if str(mode) == "EXACT":
        return x * 0.5 * (1 + erf(x / np.sqrt(2)))
    return x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _truncated(a: Array, b: Array) -> Array:
    """Quotient of numbers; of integers the whole part."""
    return a / b if a.dtype.kind == "f" else np.floor_divide(a, b)


_CASTS = {"fp16": np.float16, "fp32": np.float32, "int32": np.int32, "bool": np.bool_}


def _cast(x: Array, dtype: str) -> Array:
    return np.asarray(x).astype(_CASTS.get(str(dtype), str(dtype)))


def _look_up(indices: Array, lut: Array, shape: Any = None, **_: Any) -> Array:
    """Weights of one table: ``lut`` [1, …, 1, 2^bits, 1], or [2^bits] and indices in bytes."""
    groups = np.asarray(lut)
    if groups.ndim == 1:
        bits, size = int(np.log2(groups.size)), [int(d) for d in shape]
        planes = np.unpackbits(np.asarray(indices), count=bits * int(np.prod(size)),
                               bitorder="little").reshape(-1, bits)  # fmt: skip
        return groups[(planes << np.arange(bits)).sum(1)].reshape(size)
    if groups.size != groups.shape[-2]:
        raise NotImplementedError("look-up tables of groups")
    return groups.reshape(-1)[np.asarray(indices).astype(np.int64)]


def _slice(
    x: Array, begin: Array, end: Array, stride: Array | None = None, begin_mask: Any = None,
    end_mask: Any = None, squeeze_mask: Any = None,
) -> Array:  # fmt: skip
    rank = len(begin)
    step = [1] * rank if stride is None else [int(s) for s in stride]
    none = [False] * rank
    begins, ends, squeezes = (m if m is not None else none for m in
                              (begin_mask, end_mask, squeeze_mask))  # fmt: skip
    index: list[Any] = []
    for axis in range(rank):
        if squeezes[axis]:
            index.append(int(begin[axis]))
            continue
        low = None if begins[axis] else int(begin[axis])
        high = None if ends[axis] else int(end[axis])
        index.append(slice(low, high, step[axis]))
    return x[tuple(index)]


def _split(x: Array, axis: int, num_splits: Any = None, split_sizes: Any = None) -> Any:
    if split_sizes is None:
        return tuple(np.split(x, int(num_splits), int(axis)))
    return tuple(np.split(x, np.cumsum(split_sizes)[:-1], int(axis)))


def _pad(x: Array, pad: Array, mode: str = "constant", constant_val: Any = 0) -> Array:
    pairs = np.asarray(pad).reshape(-1, 2)
    widths = [(0, 0)] * (x.ndim - len(pairs)) + [(int(a), int(b)) for a, b in pairs]
    if str(mode) == "constant":
        return np.pad(x, widths, constant_values=constant_val)
    return np.pad(x, widths, mode="edge" if str(mode) == "replicate" else "reflect")


def _gather(x: Array, indices: Array, axis: int = 0, batch_dims: int = 0, **_: Any) -> Array:
    if batch_dims:
        raise NotImplementedError("gather with batch_dims")
    return np.take(x, indices, int(axis))


def _gather_nd(x: Array, indices: Array, batch_dims: int = 0, **_: Any) -> Array:
    if batch_dims:
        raise NotImplementedError("gather_nd with batch_dims")
    return x[tuple(np.moveaxis(indices, -1, 0))]


def _scatter(
    data: Array, indices: Array, updates: Array, axis: int = 0, mode: str = "add", **_: Any
) -> Array:
    out = np.moveaxis(data.copy(), int(axis), 0)
    rows = np.moveaxis(updates, int(axis), 0)
    for place, row in zip(np.asarray(indices).ravel(), rows, strict=True):
        out[place] = out[place] + row if str(mode) == "add" else row
    return np.moveaxis(out, 0, int(axis))


def _topk(x: Array, k: int = 1, axis: int = -1, ascending: bool = False, **_: Any) -> Any:
    order = _argsort(x, axis, ascending).take(np.arange(int(k)), int(axis))
    return np.take_along_axis(x, order, int(axis)), order


def _argsort(x: Array, axis: int = -1, ascending: bool = False) -> Array:
    keys = x if ascending else -_wide(x)
    return np.argsort(keys, int(axis), kind="stable")


def _reduce(function: Callable[..., Array]) -> Callable[..., Array]:
    def reduce(x: Array, axes: Any = None, keep_dims: bool = False) -> Array:
        along = None if axes is None else tuple(int(a) for a in axes)
        return function(_wide(x), axis=along, keepdims=bool(keep_dims))

    return reduce


def _log_sum_exp(x: Array, axis: Any, keepdims: bool) -> Array:
    top = x.max(axis, keepdims=True)
    total = np.log(np.exp(x - top).sum(axis, keepdims=True)) + top
    return total if keepdims else total.squeeze(axis)


def _arg(function: Callable[..., Array]) -> Callable[..., Array]:
    def arg(x: Array, axis: int = -1, keep_dims: bool = False, **_: Any) -> Array:
        return function(x, axis=int(axis), keepdims=bool(keep_dims))

    return arg


def _cumsum(x: Array, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Array:
    values = np.flip(x, int(axis)) if reverse else x
    sums = np.cumsum(_wide(values), int(axis))
    sums = sums - values if exclusive else sums
    return np.flip(sums, int(axis)) if reverse else sums


def _softmax(x: Array, axis: int = -1) -> Array:
    wide = _wide(x)
    weights = np.exp(wide - wide.max(int(axis), keepdims=True))
    return weights / weights.sum(int(axis), keepdims=True)


def _pixel_shuffle(x: Array, upscale_factor: int) -> Array:
    r = int(upscale_factor)
    b, c, h, w = x.shape
    y = x.reshape(b, c // (r * r), r, r, h, w).transpose(0, 1, 4, 2, 5, 3)
    return y.reshape(b, c // (r * r), h * r, w * r)


def _squeeze(x: Array, axes: Any = None) -> Array:
    return np.squeeze(x) if axes is None else np.squeeze(x, tuple(int(a) for a in axes))


def _expand(x: Array, axes: Any) -> Array:
    return np.expand_dims(x, tuple(int(a) for a in axes))


_UNARY: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs, "acos": np.arccos, "asin": np.arcsin, "atan": np.arctan, "ceil": np.ceil,
    "cos": np.cos, "cosh": np.cosh, "erf": erf, "exp": np.exp, "floor": np.floor,
    "identity": lambda x: x, "logical_not": np.logical_not, "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6), "round": np.round, "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x), "sign": np.sign, "sin": np.sin, "sinh": np.sinh,
    "softplus": lambda x: np.logaddexp(x, 0), "sqrt": np.sqrt, "square": np.square, "tan": np.tan,
    "tanh": np.tanh,
}  # fmt: skip
_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add, "equal": np.equal, "floor_div": np.floor_divide, "greater": np.greater,
    "greater_equal": np.greater_equal, "less": np.less, "less_equal": np.less_equal,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor,
    "maximum": np.maximum, "minimum": np.minimum, "mod": np.mod, "mul": np.multiply,
    "not_equal": np.not_equal, "pow": np.power, "real_div": _truncated, "sub": np.subtract,
}  # fmt: skip

FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _unary(function) for name, function in _UNARY.items()},
    **{name: _binary(function) for name, function in _BINARY.items()},
    **LAYERS,
    "argsort": _argsort,
    "cast": _cast,
    "clip": lambda x, alpha, beta: np.clip(_wide(x), alpha, beta),
    "concat": lambda values, axis, **_: np.concatenate(values, int(axis)),
    "constexpr_lut_to_dense": _look_up,
    "coreml_update_state": _update,
    "cumsum": _cumsum,
    "expand_dims": _expand,
    "gather": _gather,
    "gather_along_axis": lambda x, indices, axis=0, **_: np.take_along_axis(x, indices, int(axis)),
    "gather_nd": _gather_nd,
    "gelu": _gelu,
    "leaky_relu": lambda x, alpha: np.where(x >= 0, x, _wide(x) * alpha),
    "log": lambda x, epsilon=0: np.log(_wide(x) + epsilon),
    "pad": _pad,
    "pixel_shuffle": _pixel_shuffle,
    "read_state": lambda input: input.value,
    "reduce_argmax": _arg(np.argmax),
    "reduce_argmin": _arg(np.argmin),
    "reduce_log_sum_exp": _reduce(_log_sum_exp),
    "reduce_max": _reduce(np.max),
    "reduce_mean": _reduce(np.mean),
    "reduce_min": _reduce(np.min),
    "reduce_prod": _reduce(np.prod),
    "reduce_sum": _reduce(np.sum),
    "reshape": lambda x, shape: np.reshape(x, [int(d) for d in shape]),
    "reverse": lambda x, axes: np.flip(x, tuple(int(a) for a in axes)),
    "rsqrt": lambda x, epsilon=0: 1 / np.sqrt(_wide(x) + epsilon),
    "scatter": _scatter,
    "select": lambda cond, a, b: np.where(cond, a, b),
    "sigmoid_hard": lambda x, alpha, beta: np.clip(_wide(x) * alpha + beta, 0, 1),
    "slice_by_index": _slice,
    "softmax": _softmax,
    "split": _split,
    "squeeze": _squeeze,
    "stack": lambda values, axis: np.stack(values, int(axis)),
    "tile": lambda x, reps: np.tile(x, [int(r) for r in reps]),
    "topk": _topk,
    "transpose": lambda x, perm: np.transpose(x, [int(p) for p in perm]),
}
