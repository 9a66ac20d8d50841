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
from millijoule.targets.target import Isa

_UNROLL = 4  # values at a time where there are no vectors


def rescale(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """Form for every vector unit."""
    results = RESCALE.results(attrs, operands)
    *outer, inner = operands[0].shape
    with tir.kernel(f"rescale_{isa.name}", operands, results) as k, ExitStack() as loops:
        x, multiplier, offset, y = k.buffers
        index = [loops.enter_context(T.serial(0, extent)) for extent in outer]

        def block(start: Any, width: int) -> None:
            for at, lanes in simd.vectors(width, isa.lanes):
                column = start + at
                right = simd.splat(T.int32(attrs["right"]), lanes)
                factor = simd.load(multiplier, [], column, lanes)
                value = scaled(simd.load(x, index, column, lanes), factor, right, lanes)
                value = value + simd.load(offset, [], column, lanes)
                simd.save(y, index, column, lanes, value)

        simd.for_blocks(inner, isa.lanes if isa.lanes > 1 else _UNROLL, block)
    return KernelForm(k.func)
