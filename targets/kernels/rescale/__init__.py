"""Scheduled ``rescale``: vectors of the last axis.

Floor per value on a Cortex-M: value, multiplier and offset in, the result out (4), the product with
its rounding and shift (SMULL, ADDS, ADC, LSR, ORR), the offset: 10 instructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.converters.ops.rescale.op import RESCALE
from millijoule.converters.ops.vocabulary import Attrs
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.fixed_point import scaled
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.kernels.threads import each_element
from millijoule.targets.target import Isa

_UNROLL = 4  # values at a time where there are no vectors


def rescale(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """Form for every vector unit, and for GPUs."""
    results = RESCALE.results(attrs, operands)
    *outer, inner = operands[0].shape
    with tir.kernel(f"rescale_{isa.name}", operands, results) as k, ExitStack() as loops:

        def value(index: Sequence[Any], column: Any, lanes: int) -> None:
            x, multiplier, offset, y = k.buffers
            right = simd.splat(T.int32(attrs["right"]), lanes)
            factor = simd.load(multiplier, [], column, lanes)
            result = scaled(simd.load(x, index, column, lanes), factor, right, lanes)
            result = result + simd.load(offset, [], column, lanes)
            simd.save(y, index, column, lanes, result)

        if isa.gpu:
            each_element(operands[0].shape, lambda at: value(at[:-1], at[-1], 1))
            outer, inner = [], 0
        index = [loops.enter_context(T.serial(0, extent)) for extent in outer]

        def block(start: Any, width: int) -> None:
            for at, lanes in simd.vectors(width, isa.lanes):
                value(index, start + at, lanes)

        simd.for_blocks(inner, isa.lanes if isa.lanes > 1 else _UNROLL, block)
    return KernelForm(k.func)
