"""Scalar library calls in an expression → the arithmetic of `kernels.functions`."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import tirx
from tvm_ffi import structural_map

from millijoule.targets.kernels import functions
from millijoule.targets.kernels.functions.bits import let

# x raised to a constant, without the library
_POWERS = {
    2.0: lambda x: x * x,
    3.0: lambda x: x * x * x,
    0.5: tirx.sqrt,
    1.0: lambda x: x,
    -0.5: lambda x: functions.rsqrt(x, 1),
    -1.0: lambda x: tirx.const(1, "float32") / x,
}


def with_vector_functions(value: Any) -> Any:
    """``value`` with every float32 function that has a vector form in that form."""
    return structural_map(value, (tvm.ir.Call, _replaced))


def _replaced(call: Any) -> Any:
    name = str(getattr(call.op, "name", ""))
    if str(call.ty.dtype) != "float32":
        return call
    if name in functions.INTRINSICS:
        return functions.INTRINSICS[name](call.args[0], 1)
    if name == "tirx.pow" and isinstance(call.args[1], tirx.FloatImm):
        power = _POWERS.get(float(call.args[1]))
        if power is not None:
            return let(call.args[0], power, "base")
    return call
