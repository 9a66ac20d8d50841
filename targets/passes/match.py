"""Recognizing Relax expressions."""

from __future__ import annotations

from collections.abc import Sequence

import tvm
from tvm import relax


def op_name(expr: relax.Expr | None) -> str:
    """Name of the operator that ``expr`` calls, such as ``relax.add``; "" for all else."""
    if isinstance(expr, relax.Call) and isinstance(expr.op, tvm.ir.Op):
        return str(expr.op.name)
    return ""


def constants(values: relax.Expr) -> Sequence[int] | None:
    """The integers of a tuple argument, or None if one of them is not constant."""
    fields = list(values.fields) if isinstance(values, relax.Tuple) else [values]
    if not all(isinstance(f, tvm.tirx.IntImm) for f in fields):
        return None
    return [int(f) for f in fields]
