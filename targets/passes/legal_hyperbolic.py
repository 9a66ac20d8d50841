"""``sinh`` and ``cosh``, which TVM's CPU code has no form for, through the exponential.

    cosh(x) = (eˣ + e⁻ˣ)/2
    sinh(x) = (eˣ − e⁻ˣ)/2 for |x| ≥ 1, where the difference loses less than a bit, and its series
    x·(1 + x²/6·(1 + x²/20·(1 + x²/42·(1 + x²/72)))) below (what is left out is below 2.6e-8·x).

Beyond |x| = 88.7, where eˣ overflows, both are infinite: 0.7 before they should be.
"""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx

_SERIES = (6.0, 20.0, 42.0, 72.0)


def hyperbolic(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr | None:
    """The legalisation of both for float32; None leaves other types to TVM."""
    if str(call.args[0].ty.dtype) != "float32":
        return None
    function = _sinh if str(call.op.name) == "relax.sinh" else _cosh
    name = str(call.op.name).removeprefix("relax.")

    def compute(x: te.Tensor) -> te.Tensor:
        return te.compute(x.shape, lambda *i: function(x(*i)), name=name)

    return builder.call_te(compute, call.args[0], primfunc_name_hint=name)


def _half(x: Any) -> Any:
    return tirx.exp(x) * tirx.const(0.5, "float32")


def _cosh(x: Any) -> Any:
    return _half(x) + _half(-x)


def _sinh(x: Any) -> Any:
    one = tirx.const(1, "float32")
    square, series = x * x, one
    for divisor in reversed(_SERIES):
        series = one + square * tirx.const(1 / divisor, "float32") * series
    return tirx.Select(tirx.abs(x) < one, x * series, _half(x) - _half(-x))
