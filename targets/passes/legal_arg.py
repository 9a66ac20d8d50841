"""argmax and argmin as two plain reductions: the extreme value, then the first place that has it.

TVM's own form reduces pairs, which no schedule covers. Without a place, as NaN leaves it, the last
index is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm.topi as topi
from tvm import relax, te, tirx


def argmax(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr | None:
    """``relax.argmax`` over one axis; None over all of a tensor, which is left to TVM."""
    return _lower(builder, call, "argmax", topi.max)


def argmin(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr | None:
    """``relax.argmin`` over one axis; None over all of a tensor, which is left to TVM."""
    return _lower(builder, call, "argmin", topi.min)


def _lower(
    builder: relax.BlockBuilder, call: relax.Call, name: str, extreme: Callable[..., te.Tensor]
) -> relax.Expr | None:
    axis, keepdims, data = call.attrs.axis, bool(call.attrs.keepdims), call.args[0]
    if axis is None or not data.ty.shape:
        return None
    at = int(axis) % len(data.ty.shape)
    dtype = str(call.ty.dtype)
    return builder.call_te(
        lambda x: first_place(x, at, keepdims, dtype, extreme), data, primfunc_name_hint=name
    )


def first_place(
    x: te.Tensor, axis: int, keepdims: bool, dtype: str, extreme: Callable[..., te.Tensor]
) -> te.Tensor:
    """Index along ``axis`` of the first element that equals ``extreme`` of them all."""
    size = int(x.shape[axis])
    best = extreme(x, axis, keepdims=True)
    last = tirx.const(size - 1, "int32")

    def place(*index: Any) -> Any:
        kept = [0 if a == axis else i for a, i in enumerate(index)]
        here = tirx.Cast("int32", index[axis])
        return tirx.Select(tirx.EQ(x(*index), best(*kept)), here, last)

    places = te.compute(x.shape, place, name="place")
    return topi.cast(topi.min(places, axis, keepdims=keepdims), dtype)
