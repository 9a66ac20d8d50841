"""Products of fixed-point values, as vectors."""

from __future__ import annotations

from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd


def scaled(value: Any, factor: Any, right: Any, lanes: int) -> Any:
    """``value·factor / 2**right`` rounded to nearest, ties upwards: int32 of a 64-bit product."""
    wide = simd.vector_type("int64", lanes)
    one, shift = simd.splat(T.int64(1), lanes), T.cast(right, wide)
    product = T.cast(value, wide) * T.cast(factor, wide) + T.shift_left(one, shift - one)
    return simd.convert(T.shift_right(product, shift), "int32", lanes)
