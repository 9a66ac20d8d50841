"""Running sums and products along an axis.

Floor: every element read once and written once, one operation each, in order: a scan's next value
waits for the one before.
"""

from __future__ import annotations

import math
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels.form import KernelForm


def scan(operand: TensorType, result: TensorType, axis: int, product: bool) -> KernelForm:
    """``y[i] = x[0] ∘ … ∘ x[i]`` along ``axis``; ∘ is + or, if ``product``, ×."""
    outer, count, inner = around(operand.shape, axis)
    flat_in = TensorType((outer, count, inner), operand.dtype)
    flat_out = TensorType((outer, count, inner), result.dtype)
    with tir.kernel("scan", [flat_in], [flat_out]) as k:
        x, y = k.buffers
        with T.serial(0, outer) as o:
            with T.serial(0, inner) as i:
                tir.store(y, (o, 0, i), T.cast(x[o, 0, i], result.dtype))
            with T.serial(1, count) as c, T.serial(0, inner) as i:
                before: Any = y[o, c - 1, i]
                value: Any = T.cast(x[o, c, i], result.dtype)
                tir.store(y, (o, c, i), before * value if product else before + value)
    return KernelForm(k.func)


def around(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """Elements in front of, along and behind ``axis``."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
