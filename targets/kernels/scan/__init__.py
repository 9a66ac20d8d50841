"""Running sums and products along an axis.

Floor: every element read once and written once, one operation each, in order: a scan's next value
waits for the one before. On a GPU a thread takes one line along the axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.kernels.threads import Registers, each_element


def scan(
    operand: TensorType, result: TensorType, axis: int, product: bool, *, gpu: bool = False
) -> KernelForm:
    """``y[i] = x[0] ∘ … ∘ x[i]`` along ``axis``; ∘ is + or, if ``product``, ×."""
    outer, count, inner = around(operand.shape, axis)
    flat_in = TensorType((outer, count, inner), operand.dtype)
    flat_out = TensorType((outer, count, inner), result.dtype)
    with tir.kernel("scan", [flat_in], [flat_out]) as k:
        x, y = k.buffers
        if gpu:
            each_element((outer, inner), lambda at: _line(x, y, at, product))
        else:
            _lines(x, y, product)
    return KernelForm(k.func)


def _lines(x: Any, y: Any, product: bool) -> None:
    """All lines, step by step along the axis."""
    outer, count, inner = (int(d) for d in y.shape)
    dtype = str(y.ty.dtype)
    with T.serial(0, outer) as o:
        with T.serial(0, inner) as i:
            tir.store(y, (o, 0, i), T.cast(x[o, 0, i], dtype))
        with tir.between(1, count) as c, T.serial(0, inner) as i:
            before: Any = y[o, c - 1, i]
            value: Any = T.cast(x[o, c, i], dtype)
            tir.store(y, (o, c, i), before * value if product else before + value)


def _line(x: Any, y: Any, at: Sequence[Any], product: bool) -> None:
    """One line in a thread."""
    (o, i), dtype = at, str(y.ty.dtype)
    total = Registers(1, dtype)
    total[0] = T.cast(1 if product else 0, dtype)
    with T.serial(0, int(y.shape[1])) as c:
        value = T.cast(x[o, c, i], dtype)
        total[0] = total[0] * value if product else total[0] + value
        tir.store(y, (o, c, i), total[0])


def around(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """Elements in front of, along and behind ``axis``."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
