"""One rule per Relax operator that integers can pass through without becoming float.

A rule gets the rewriter and the call, and returns the call's value, or None where the operator has
to run as it did: on floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import relax

from millijoule.converters.importer import tensor_type
from millijoule.targets.passes.quantize.numbers import INT32_LIMIT
from millijoule.targets.passes.quantize.values import (
    Affine,
    Plain,
    Value,
    affine,
    moved,
    scaled,
    shifted,
)

if TYPE_CHECKING:
    from millijoule.targets.passes.quantize.rewrite import Rewriter

Rule = Callable[["Rewriter", relax.Call], "Value | None"]


def _astype(rewriter: Rewriter, call: relax.Call) -> Value | None:
    """Spikes as float are spikes: each stands for 1, whatever reads them."""
    value = rewriter.value(call.args[0])
    if isinstance(value, Affine) and str(call.attrs.dtype) == "float32":
        return value
    if not isinstance(value, Plain) or str(call.attrs.dtype) != "float32":
        return None
    if tensor_type(value.expr).dtype != "uint8":
        return None
    return affine(value.expr, 1.0, 0.0, value.bound)


def _constant_of(
    rewriter: Rewriter, call: relax.Call, index: int
) -> tuple[Affine, np.ndarray] | None:
    """The integer operand of a binary operator and the constant one, at ``index``."""
    value = rewriter.value(call.args[1 - index])
    constant = rewriter.graph.constant(call.args[index])
    if not isinstance(value, Affine) or constant is None:
        return None
    constant = constant.astype(np.float64)
    same = np.broadcast_shapes(constant.shape, value.shape) == value.shape
    return (value, constant) if same and np.isfinite(constant).all() else None


def _multiply(rewriter: Rewriter, call: relax.Call) -> Value | None:
    for index in (1, 0):
        found = _constant_of(rewriter, call, index)
        if found is not None:
            return scaled(*found)
    return None


def _divide(rewriter: Rewriter, call: relax.Call) -> Value | None:
    found = _constant_of(rewriter, call, 1)
    return None if found is None or (found[1] == 0).any() else scaled(found[0], 1 / found[1])


def _add(rewriter: Rewriter, call: relax.Call) -> Value | None:
    if tensor_type(call).dtype == "uint8":
        return _add_counts(rewriter, call)
    for index in (1, 0):
        found = _constant_of(rewriter, call, index)
        if found is not None:
            return shifted(*found)
    a, b = (rewriter.value(arg) for arg in call.args)
    if isinstance(a, Affine) and isinstance(b, Affine):
        return rewriter.emitter.total(a, b)
    return None


def _add_counts(rewriter: Rewriter, call: relax.Call) -> Value | None:
    a, b = (rewriter.value(arg) for arg in call.args)
    if not isinstance(a, Plain) or not isinstance(b, Plain):
        return None
    expr = rewriter.emitter.emit(relax.op.add(a.expr, b.expr))
    return Plain(expr, min(255, a.bound + b.bound))


def _subtract(rewriter: Rewriter, call: relax.Call) -> Value | None:
    found = _constant_of(rewriter, call, 1)
    if found is not None:
        return shifted(found[0], -found[1])
    found = _constant_of(rewriter, call, 0)
    if found is not None:
        return shifted(scaled(found[0], -1.0), found[1])
    a, b = (rewriter.value(arg) for arg in call.args)
    if isinstance(a, Affine) and isinstance(b, Affine):
        return rewriter.emitter.total(a, scaled(b, -1.0))
    return None


def _mean(rewriter: Rewriter, call: relax.Call) -> Value | None:
    """Sum the integers and let each stand for less."""
    value = rewriter.value(call.args[0])
    if not isinstance(value, Affine) or call.attrs.axis is None:
        return None
    axes = [int(a) % len(value.shape) for a in call.attrs.axis]
    count = math.prod(value.shape[a] for a in axes)
    even = all(array.shape[a] == 1 for array in (value.scale, value.bias) for a in axes)
    if not even or value.bound * count > INT32_LIMIT:
        return None
    keep = bool(call.attrs.keepdims)
    integers = rewriter.emitter.cast(value, "int32")
    expr = rewriter.emitter.emit(relax.op.sum(integers, axes, keep))

    def reduced(array: np.ndarray) -> np.ndarray:
        return array if keep else array.squeeze(tuple(axes))

    return affine(expr, reduced(value.scale) / count, reduced(value.bias), value.bound * count)


def _move(arrange: Callable[[relax.Call, tuple[int, ...]], Callable[[np.ndarray], Any]]) -> Rule:
    """Operators that only rearrange elements."""

    def rule(rewriter: Rewriter, call: relax.Call) -> Value | None:
        value = rewriter.value(call.args[0])
        result = rewriter.repeated(call, value.expr)
        if isinstance(value, Plain):
            return Plain(result, value.bound)
        shape = tuple(int(d) for d in call.ty.shape)
        return moved(value, result, arrange(call, shape))

    return rule


def _axes(call: relax.Call, rank: int) -> list[int]:
    axes = call.attrs.axes
    return list(reversed(range(rank))) if axes is None else [int(a) for a in axes]


def _slice(rewriter: Rewriter, call: relax.Call) -> Value | None:
    """A slice along an axis where all elements have one meaning."""
    value = rewriter.value(call.args[0])
    if isinstance(value, Plain):
        return Plain(rewriter.repeated(call, value.expr), value.bound)
    axes = [int(a.value) % len(value.shape) for a in call.args[1].fields]
    if any(array.shape[a] > 1 for array in (value.scale, value.bias) for a in axes):
        return None
    result = rewriter.repeated(call, value.expr)
    return affine(result, value.scale, value.bias, value.bound)


def _matmul(rewriter: Rewriter, call: relax.Call) -> Value | None:
    """Products of spike counts (spiking self-attention) are exact integers."""
    a, b = (rewriter.value(arg) for arg in call.args)
    if not isinstance(a, Affine) or not isinstance(b, Affine) or not (a.uniform and b.uniform):
        return None
    bound = a.shape[-1] * a.bound * b.bound
    if bound > INT32_LIMIT:
        return None
    left, right = (rewriter.emitter.cast(v, "int32") for v in (a, b))
    expr = rewriter.emitter.emit(relax.op.matmul(left, right, out_dtype="int32"))
    return affine(expr, a.scale.item() * b.scale.item(), 0.0, bound)


RULES: dict[str, Rule] = {
    "relax.add": _add,
    "relax.astype": _astype,
    "relax.broadcast_to": _move(lambda call, shape: lambda x: np.broadcast_to(x, shape)),
    "relax.divide": _divide,
    "relax.expand_dims": _move(lambda call, shape: lambda x: x.reshape(shape)),
    "relax.matmul": _matmul,
    "relax.mean": _mean,
    "relax.multiply": _multiply,
    "relax.permute_dims": _move(lambda call, shape: lambda x: x.transpose(_axes(call, len(shape)))),
    "relax.reshape": _move(lambda call, shape: lambda x: x.reshape(shape)),
    "relax.squeeze": _move(lambda call, shape: lambda x: x.reshape(shape)),
    "relax.strided_slice": _slice,
    "relax.subtract": _subtract,
}
