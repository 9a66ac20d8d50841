"""``quantize``: numbers to int8 in ordinary operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax

from millijoule.converters.ops.quantize.op import LIMIT, reciprocal
from millijoule.targets.graph.forms.expansion import Expansion

op = relax.op


def quantize(
    g: Expansion, attrs: dict[str, Any], operands: Sequence[relax.Expr]
) -> tuple[relax.Expr, ...]:
    """trunc(clamp(x/scale) ± ½): half away from zero, as the op is defined."""

    def number(value: float) -> relax.Expr:
        return relax.const(np.float32(value))

    v = g(op.multiply(operands[0], number(reciprocal(attrs))))
    v = g(op.maximum(g(op.minimum(v, number(LIMIT))), number(-LIMIT)))
    half = g(op.where(g(op.greater_equal(v, number(0))), number(0.5), number(-0.5)))
    whole = g(op.astype(g(op.add(v, half)), "int32"))
    return (g(op.astype(whole, "int8")),)
