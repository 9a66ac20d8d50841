"""Recognizing Relax expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tvm
from tvm import relax


def op_name(expr: relax.Expr | None) -> str:
    """Name of the operator that ``expr`` calls, such as ``relax.add``; "" for all else."""
    if isinstance(expr, relax.Call) and isinstance(expr.op, tvm.ir.Op):
        return str(expr.op.name)
    return ""


def returned(
    body: relax.Expr, bound: Mapping[relax.Var, relax.Expr]
) -> tuple[list[relax.Expr], set[relax.Var]]:
    """What a function with the result ``body`` returns, one by one, and the variables of tuples
    and aliases that were looked through.

    ``bound``: what each variable is bound to.
    """
    through: set[relax.Var] = set()

    def resolve(expr: relax.Expr) -> relax.Expr:
        while isinstance(expr, relax.Var) and isinstance(bound.get(expr), relax.Var | relax.Tuple):
            through.add(expr)
            expr = bound[expr]
        return expr

    result = resolve(body)
    fields = result.fields if isinstance(result, relax.Tuple) else [result]
    return [resolve(field) for field in fields], through


def constants(values: relax.Expr) -> Sequence[int] | None:
    """The integers of a tuple argument, or None if one of them is not constant."""
    fields = list(values.fields) if isinstance(values, relax.Tuple) else [values]
    if not all(isinstance(f, tvm.tirx.IntImm) for f in fields):
        return None
    return [int(f) for f in fields]


def constant(
    expr: relax.Expr, lookup: Callable[[relax.Var], relax.Expr | None]
) -> np.ndarray | None:
    """Value of a constant, also behind transposes and reshapes; None for all else.

    ``linear`` keeps weights as [N, K].

    ``lookup`` gives what a variable is bound to.
    """
    bound = lookup(expr) if isinstance(expr, relax.Var) else expr
    if bound is None:
        return None
    if isinstance(bound, tvm.ir.Constant):
        return bound.value.numpy()
    if op_name(bound) == "relax.reshape":
        value = constant(bound.args[0], lookup)
        if value is None or not all(isinstance(d, tvm.tirx.IntImm) for d in bound.ty.shape):
            return None
        return value.reshape([int(d) for d in bound.ty.shape])
    if op_name(bound) == "relax.permute_dims":
        value = constant(bound.args[0], lookup)
        if value is None:
            return None
        axes = bound.attrs.axes
        return value.transpose(None if axes is None else [int(a) for a in axes])
    return None
