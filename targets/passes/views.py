"""Relax values as strided views of others: what a kernel reads instead of a transposed copy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tvm
from tvm import relax

from millijoule.converters.importer import tensor_type
from millijoule.converters.ops.symbols import size_of
from millijoule.sizes import Size, divided, most
from millijoule.targets.passes.match import constants, op_name

Bound = Mapping[relax.Var, relax.Expr]


@dataclass(frozen=True)
class TensorView:
    """Element [i, j, …] is ``scale`` × element offset + i·strides[0] + j·strides[1] … of ``base``.

    ``base`` is contiguous, row-major; a stride of 0 repeats.
    """

    base: relax.Expr
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    scale: float = 1.0

    @property
    def whole(self) -> bool:
        """Whether it is all of the base, in order: at most another shape of it."""
        return (
            self.offset == 0
            and self.scale == 1
            and reshaped(self.shape, self.strides, self.shape)
            == reshaped(self.shape, contiguous(self.shape), self.shape)
            and math.prod(self.shape) == tensor_type(self.base).size
        )

    def reshape(self, shape: Sequence[int]) -> TensorView | None:
        """The same elements in another shape, or None if strides cannot say it."""
        strides = reshaped(self.shape, self.strides, shape)
        if strides is None:
            return None
        return replace(self, shape=tuple(shape), strides=strides)

    def broadcast(self, shape: Sequence[int]) -> TensorView:
        """Repeated along new axes in front and along those of extent 1."""
        missing = len(shape) - len(self.shape)
        old = [*(1 for _ in range(missing)), *self.shape]
        strides = [*(0 for _ in range(missing)), *self.strides]
        repeated = [0 if o == 1 else s for o, s in zip(old, strides, strict=True)]
        return replace(self, shape=tuple(shape), strides=tuple(repeated))


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def reshaped(
    shape: Sequence[int], strides: Sequence[int], new: Sequence[int]
) -> tuple[int, ...] | None:
    """Strides of the same elements in shape ``new``, or None where a copy would be needed.

    Strides of axes of extent 1 are 0.
    """
    runs: list[tuple[Any, int]] = []  # axes that are one axis in memory, as (extent, stride)
    for extent, stride in zip(shape, strides, strict=True):
        if extent == 1:
            continue
        if runs and runs[-1][1] == extent * stride:
            runs[-1] = (runs[-1][0] * extent, stride)
        else:
            runs.append((extent, stride))
    result: list[int] = []
    for extent in reversed(new):
        if extent == 1:
            result.insert(0, 0)
            continue
        rest = divided(runs[-1][0], extent) if runs else None
        if rest is None:
            return None
        _, stride = runs.pop()
        result.insert(0, stride)
        if rest != 1:
            runs.append((rest, stride * extent))
    return None if runs else tuple(result)


def scalar_of(expr: relax.Expr, bound: Bound) -> float | None:
    """The value of a constant of one element."""
    value = bound.get(expr) if isinstance(expr, relax.Var) else expr
    if isinstance(value, tvm.ir.Constant) and tensor_type(value).size == 1:
        return float(value.value.numpy().reshape(-1)[0])
    return None


def view_of(expr: relax.Expr, bound: Bound, *, scaled: bool = False) -> TensorView:
    """``expr`` as a view of the value furthest back; of itself if nothing else.

    ``scaled``: look through multiplications by a constant, too.
    """
    value = bound.get(expr) if isinstance(expr, relax.Var) else expr
    rule = _RULES.get(op_name(value))
    view = None
    if isinstance(value, relax.TupleGetItem):
        view = _part(value, bound, scaled)
    elif isinstance(value, relax.Var):
        return view_of(value, bound, scaled=scaled)
    elif rule is not None and value is not None:
        view = rule(view_of(value.args[0], bound, scaled=scaled), value)
    elif scaled:
        view = _scaled(value, bound)
    if view is not None:
        return view
    shape = tensor_type(expr).shape
    return TensorView(expr, 0, shape, contiguous(shape))


def _scaled(value: relax.Expr, bound: Bound) -> TensorView | None:
    name = op_name(value)
    if name not in ("relax.multiply", "relax.divide"):
        return None
    for x, other in (value.args, list(value.args)[::-1]):
        factor = scalar_of(other, bound)
        if factor is not None and tensor_type(x) == tensor_type(value):
            if name == "relax.divide" and (factor == 0 or not other.same_as(value.args[1])):
                return None
            view = view_of(x, bound, scaled=True)
            factor = 1 / factor if name == "relax.divide" else factor
            return replace(view, scale=view.scale * factor)
    return None


def _part(item: relax.TupleGetItem, bound: Bound, scaled: bool) -> TensorView | None:
    """One part of a ``split``."""
    source = item.tuple_value
    call = bound.get(source) if isinstance(source, relax.Var) else source
    if isinstance(call, relax.Tuple):
        return view_of(call.fields[item.index], bound, scaled=scaled)
    if call is None or op_name(call) != "relax.split":
        return None
    view = view_of(call.args[0], bound, scaled=scaled)
    axis = int(call.attrs.axis) % len(view.shape)
    shapes: list[Any] = [size_of(f.shape[axis]) for f in call.ty.fields]
    return _slice(view, axis, sum(shapes[: item.index]), shapes[item.index], 1)


def _slice(view: TensorView, axis: int, begin: int, extent: int, step: int) -> TensorView:
    shape, strides = list(view.shape), list(view.strides)
    offset = view.offset + begin * strides[axis]
    shape[axis], strides[axis] = extent, strides[axis] * step
    return replace(view, offset=offset, shape=tuple(shape), strides=tuple(strides))


def _permuted(view: TensorView, call: relax.Call) -> TensorView:
    axes = call.attrs.axes
    order = list(reversed(range(len(view.shape)))) if axes is None else [int(a) for a in axes]
    shape, strides = ([values[a] for a in order] for values in (view.shape, view.strides))
    return replace(view, shape=tuple(shape), strides=tuple(strides))


def _reshaped(view: TensorView, call: relax.Call) -> TensorView | None:
    return view.reshape(tensor_type(call).shape)


def _broadcast(view: TensorView, call: relax.Call) -> TensorView:
    return view.broadcast(tensor_type(call).shape)


def _strided(view: TensorView, call: relax.Call) -> TensorView | None:
    found = [constants(a) for a in call.args[1:]]
    given = [values for values in found if values is not None]
    if len(given) < len(found):
        return None
    axes, begins, ends, *steps = given
    for axis, begin, end, step in zip(
        axes, begins, ends, steps[0] if steps else [1] * len(axes), strict=True
    ):
        extent = view.shape[axis]
        if isinstance(extent, Size) and (begin < 0 or end < 0 or end > extent.least):
            return None  # where it ends depends on the size
        first, last, step = slice(begin, end, step).indices(most(extent))
        if step < 0:
            return None
        view = _slice(view, axis % len(view.shape), first, len(range(first, last, step)), step)
    return view if view.shape == tensor_type(call).shape else None


def _taken(view: TensorView, call: relax.Call) -> TensorView | None:
    """``take`` with one constant index: an axis less."""
    index = call.args[1]
    if not isinstance(index, tvm.ir.Constant) or len(tensor_type(index).shape):
        return None
    axis = int(call.attrs.axis) % len(view.shape)
    position = int(index.value.numpy())
    if isinstance(view.shape[axis], Size) and position < 0:
        return None
    position %= most(view.shape[axis])
    return _slice(view, axis, position, 1, 1).reshape(tensor_type(call).shape)


_RULES: dict[str, Callable[[TensorView, relax.Call], TensorView | None]] = {
    "relax.broadcast_to": _broadcast,
    "relax.expand_dims": _reshaped,
    "relax.flatten": _reshaped,
    "relax.permute_dims": _permuted,
    "relax.reshape": _reshaped,
    "relax.squeeze": _reshaped,
    "relax.strided_slice": _strided,
    "relax.take": _taken,
}
