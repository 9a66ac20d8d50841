"""Elementary functions that TVM's importer lacks, from those that it has."""

from __future__ import annotations

import math

from torch import fx
from tvm import relax

from millijoule.converters.torch_ops.context import (
    Context,
    Convert,
    argument,
    dtype_of,
)

_op = relax.op


def _erfc(node: fx.Node, context: Context) -> relax.Var:
    """``1 − erf(x)``: exact to the last bits of 1, not of a small result."""
    x = context.value(node.args[0], dtype_of(node))
    erf = context.emit(_op.erf(x))
    return context.emit(_op.subtract(relax.const(1, dtype_of(node)), erf))


def _exp2(node: fx.Node, context: Context) -> relax.Var:
    x = context.value(node.args[0], dtype_of(node))
    scaled = context.emit(_op.multiply(x, relax.const(math.log(2), dtype_of(node))))
    return context.emit(_op.exp(scaled))


def _elu(node: fx.Node, context: Context) -> relax.Var:
    """``scale · x`` above 0, else ``scale · alpha · (exp(input_scale · x) − 1)``; selu, too."""
    dtype = dtype_of(node)
    alpha, scale, inner = (
        float(argument(node, i, name, 1.0))
        for i, name in enumerate(("alpha", "scale", "input_scale"), start=1)
    )
    x = context.value(node.args[0], dtype)
    bent = context.emit(_op.exp(context.emit(_op.multiply(x, relax.const(inner, dtype)))))
    bent = context.emit(_op.subtract(bent, relax.const(1, dtype)))
    bent = context.emit(_op.multiply(bent, relax.const(alpha * scale, dtype)))
    straight = context.emit(_op.multiply(x, relax.const(scale, dtype))) if scale != 1 else x
    positive = context.emit(_op.greater(x, relax.const(0, dtype)))
    return context.emit(_op.where(positive, straight, bent))


CONVERTERS: dict[str, Convert] = {
    "elu.default": _elu,
    "erfc.default": _erfc,
    "exp2.default": _exp2,
}
