"""Arithmetic, comparisons and logic of two operands, with torch's type promotion.

The result's dtype is what torch says it is; operands are cast to the dtype that torch computes in
first, so that integers and floats mix as they do there (``int / int`` is a float, a float scalar
makes an integer tensor float), and ``alpha`` of ``add`` and ``sub`` counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from tvm import relax

from millijoule.converters.torch_ops.context import Context, Convert, argument, dtype_of

_op = relax.op
RelaxOp = Callable[[relax.Expr, relax.Expr], relax.Expr]
_LOGIC: dict[RelaxOp, RelaxOp] = {
    _op.add: _op.logical_or,
    _op.maximum: _op.logical_or,
    _op.multiply: _op.logical_and,
    _op.minimum: _op.logical_and,
    _op.bitwise_and: _op.logical_and,
    _op.bitwise_or: _op.logical_or,
    _op.bitwise_xor: _op.logical_xor,
}


def _meta(value: Any) -> Any:
    return value.meta["val"] if isinstance(value, fx.Node) else value


def _common_dtype(a: Any, b: Any) -> str:
    """The dtype that torch compares ``a`` and ``b`` in."""
    return str(torch.result_type(_meta(a), _meta(b))).removeprefix("torch.")


def _pair(node: fx.Node, context: Context, dtype: str) -> tuple[relax.Expr, relax.Expr]:
    return context.value(node.args[0], dtype), context.value(node.args[1], dtype)


def _arithmetic(op: RelaxOp) -> Convert:
    def convert(node: fx.Node, context: Context) -> relax.Var:
        dtype = dtype_of(node)
        a, b = _pair(node, context, dtype)
        return context.emit(_LOGIC.get(op, op)(a, b) if dtype == "bool" else op(a, b))

    return convert


def _scaled(op: RelaxOp, reverse: bool = False) -> Convert:
    """``op(a, alpha · b)``, or ``op(b, alpha · a)``."""

    def convert(node: fx.Node, context: Context) -> relax.Var:
        dtype = dtype_of(node)
        a, b = _pair(node, context, dtype)
        if reverse:
            a, b = b, a
        alpha = argument(node, 2, "alpha", 1)
        if alpha != 1:
            b = context.emit(_op.multiply(b, relax.const(alpha, dtype)))
        return context.emit(_LOGIC.get(op, op)(a, b) if dtype == "bool" else op(a, b))

    return convert


def _comparison(op: RelaxOp) -> Convert:
    def convert(node: fx.Node, context: Context) -> relax.Var:
        dtype = _common_dtype(node.args[0], node.args[1])
        if dtype == "bool":  # LLVM compares bytes
            dtype = "int32"
        a, b = _pair(node, context, dtype)
        return context.emit(op(a, b))

    return convert


def _logical(op: RelaxOp) -> Convert:
    def convert(node: fx.Node, context: Context) -> relax.Var:
        a, b = (
            x if str(x.ty.dtype) == "bool" else context.emit(_op.not_equal(x, _zero(x)))
            for x in (context.value(node.args[0]), context.value(node.args[1]))
        )
        return context.emit(op(a, b))

    return convert


def _zero(x: relax.Expr) -> relax.Expr:
    return relax.const(0, str(x.ty.dtype))


def divide(a: relax.Expr, b: relax.Expr, mode: str | None, context: Context) -> relax.Expr:
    """``a / b`` of one dtype, rounded as ``mode`` says: None, "floor" or "trunc"."""
    is_float = str(a.ty.dtype).startswith("float")
    if mode is None:
        return _op.divide(a, b)
    if not is_float:
        return _op.floor_divide(a, b) if mode == "floor" else _op.divide(a, b)
    quotient = context.emit(_op.divide(a, b))
    return _op.floor(quotient) if mode == "floor" else _op.trunc(quotient)


def _division(mode: str | None) -> Convert:
    def convert(node: fx.Node, context: Context) -> relax.Var:
        a, b = _pair(node, context, dtype_of(node))
        chosen = argument(node, 2, "rounding_mode", mode)
        return context.emit(divide(a, b, chosen, context))

    return convert


def _remainder(mode: str) -> Convert:
    """``a − b · round(a / b)``: the sign of the divisor ("floor") or of the dividend ("trunc")."""

    def convert(node: fx.Node, context: Context) -> relax.Var:
        dtype = dtype_of(node)
        a, b = _pair(node, context, dtype)
        if mode == "floor" and not dtype.startswith("float"):
            return context.emit(_op.floor_mod(a, b))
        whole = context.emit(divide(a, b, mode, context))
        return context.emit(_op.subtract(a, context.emit(_op.multiply(whole, b))))

    return convert


def _power(node: fx.Node, context: Context) -> relax.Var:
    """``a ** b``; squares and roots without a call of pow, whole powers of integers exactly."""
    dtype = dtype_of(node)
    exponent = node.args[1]
    if isinstance(exponent, int | float):
        base = context.value(node.args[0], dtype)
        if exponent == 0.5:
            return context.emit(_op.sqrt(base))
        if exponent == -0.5:
            return context.emit(_op.rsqrt(base))
        if exponent == int(exponent) and 1 <= exponent <= 4:
            result = base
            for _ in range(int(exponent) - 1):
                result = context.emit(_op.multiply(result, base))
            return context.emit(result) if result is base else result
    return context.emit(_op.power(*_pair(node, context, dtype)))


_BOTH = ("Tensor", "Scalar")


def _table() -> dict[str, Convert]:
    table: dict[str, Convert] = {}
    for name, convert in {
        "add": _scaled(_op.add),
        "sub": _scaled(_op.subtract),
        "rsub": _scaled(_op.subtract, reverse=True),
        "mul": _arithmetic(_op.multiply),
        "div": _division(None),
        "remainder": _remainder("floor"),
        "fmod": _remainder("trunc"),
        "eq": _comparison(_op.equal),
        "ne": _comparison(_op.not_equal),
        "lt": _comparison(_op.less),
        "le": _comparison(_op.less_equal),
        "gt": _comparison(_op.greater),
        "ge": _comparison(_op.greater_equal),
        "bitwise_and": _arithmetic(_op.bitwise_and),
        "bitwise_or": _arithmetic(_op.bitwise_or),
        "bitwise_xor": _arithmetic(_op.bitwise_xor),
        "__and__": _arithmetic(_op.bitwise_and),
        "__or__": _arithmetic(_op.bitwise_or),
        "__xor__": _arithmetic(_op.bitwise_xor),
    }.items():
        table |= {f"{name}.{form}": convert for form in _BOTH}
    table |= {f"div.{form}_mode": _division(None) for form in _BOTH}
    table |= {f"pow.{form}": _power for form in ("Tensor_Scalar", "Tensor_Tensor", "Scalar")}
    return table | {
        "floor_divide.default": _division("floor"),
        "maximum.default": _arithmetic(_op.maximum),
        "minimum.default": _arithmetic(_op.minimum),
        "atan2.default": _arithmetic(_op.atan2),
        "logical_and.default": _logical(_op.logical_and),
        "logical_or.default": _logical(_op.logical_or),
        "logical_xor.default": _logical(_op.logical_xor),
    }


CONVERTERS = _table()
