"""Reductions, in the dtype that torch sums in and with its corrections."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import fx
from tvm import relax

from millijoule.converters.torch_ops.context import (
    Context,
    Convert,
    argument,
    axes_of,
    dtype_of,
    shape_of,
)

_op = relax.op


def _over_axes(op: Callable[..., relax.Expr], dim_at: int | None) -> Convert:
    """``op`` over the axes in argument ``dim_at`` (None: over all)."""

    def convert(node: fx.Node, context: Context) -> relax.Var:
        rank = len(shape_of(node.args[0]))
        dims = None if dim_at is None else argument(node, dim_at, "dim")
        keep = bool(argument(node, 2, "keepdim", False)) if dim_at is not None else False
        x = context.value(node.args[0], dtype_of(node))
        return context.emit(op(x, axes_of(dims, rank), keep)) if rank else context.emit(x)

    return convert


def _truth(reduce_op: Callable[..., relax.Expr], dim_at: int | None) -> Convert:
    """``any`` and ``all``: the largest or smallest of zeros and ones."""

    def convert(node: fx.Node, context: Context) -> relax.Var:
        rank = len(shape_of(node.args[0]))
        dims = None if dim_at is None else argument(node, dim_at, "dim")
        keep = bool(argument(node, 2, "keepdim", False)) if dim_at is not None else False
        x = context.value(node.args[0])
        if str(x.ty.dtype) != "bool":
            x = context.emit(_op.not_equal(x, relax.const(0, str(x.ty.dtype))))
        ones = context.cast(x, "int32")
        return context.cast(context.emit(reduce_op(ones, axes_of(dims, rank), keep)), "bool")

    return convert


def _spread(root: bool) -> Convert:
    """Variance or standard deviation: Σ(x − mean)² / (n − correction)."""

    def convert(node: fx.Node, context: Context) -> relax.Var:
        dims = shape_of(node.args[0])
        axes = axes_of(argument(node, 1, "dim"), len(dims))
        correction = node.kwargs.get("correction")
        unbiased = (
            argument(node, 2, "unbiased", True) if node.target.__name__ == "var.dim" else True
        )
        less = float(correction if correction is not None else bool(unbiased))
        keep = bool(node.kwargs.get("keepdim", argument(node, 3, "keepdim", False)))
        count = math.prod(dims[a] for a in axes)
        y = context.emit(_op.variance(context.value(node.args[0]), axes, keep))
        if less:
            y = context.emit(_op.multiply(y, relax.const(count / (count - less), dtype_of(node))))
        return context.emit(_op.sqrt(y)) if root else y

    return convert


def _best_along(largest: bool) -> Convert:
    """``max.dim`` and ``min.dim``: values and the first index of each."""

    def convert(node: fx.Node, context: Context) -> Any:
        rank = len(shape_of(node.args[0]))
        axis = int(node.args[1]) % rank
        keep = bool(argument(node, 2, "keepdim", False))
        x = context.value(node.args[0])
        value = (_op.max if largest else _op.min)(x, axis, keep)
        index = (_op.argmax if largest else _op.argmin)(x, axis, keep)
        return [context.emit(value), context.emit(index)]

    return convert


def _argument_of(op: Callable[..., relax.Expr]) -> Convert:
    """``argmax`` and ``argmin``, over one axis or the flattened tensor."""

    def convert(node: fx.Node, context: Context) -> relax.Var:
        dims = shape_of(node.args[0])
        axis = argument(node, 1, "dim")
        x = context.value(node.args[0])
        if axis is None:
            x = context.emit(_op.reshape(x, (math.prod(dims),)))
            index = context.emit(op(x, 0, False))
            return context.emit(_op.reshape(index, shape_of(node)))
        return context.emit(op(x, int(axis) % len(dims), bool(argument(node, 2, "keepdim", False))))

    return convert


def _cumulative(op: Callable[..., relax.Expr]) -> Convert:
    def convert(node: fx.Node, context: Context) -> relax.Var:
        axis = int(node.args[1]) % max(len(shape_of(node.args[0])), 1)
        x = context.value(node.args[0], dtype_of(node))
        return context.emit(op(x, axis))

    return convert


CONVERTERS: dict[str, Convert] = {
    "sum.default": _over_axes(_op.sum, None),
    "sum.dim_IntList": _over_axes(_op.sum, 1),
    "mean.default": _over_axes(_op.mean, None),
    "mean.dim": _over_axes(_op.mean, 1),
    "prod.default": _over_axes(_op.prod, None),
    "prod.dim_int": _over_axes(_op.prod, 1),
    "amax.default": _over_axes(_op.max, 1),
    "amin.default": _over_axes(_op.min, 1),
    "max.default": _over_axes(_op.max, None),
    "min.default": _over_axes(_op.min, None),
    "any.default": _truth(_op.max, None),
    "any.dim": _truth(_op.max, 1),
    "any.dims": _truth(_op.max, 1),
    "all.default": _truth(_op.min, None),
    "all.dim": _truth(_op.min, 1),
    "all.dims": _truth(_op.min, 1),
    "max.dim": _best_along(largest=True),
    "min.dim": _best_along(largest=False),
    "argmax.default": _argument_of(_op.argmax),
    "argmin.default": _argument_of(_op.argmin),
    "var.correction": _spread(root=False),
    "var.dim": _spread(root=False),
    "std.correction": _spread(root=True),
    "cumsum.default": _cumulative(_op.cumsum),
    "cumprod.default": _cumulative(_op.cumprod),
}
