"""Concatenation as plain copies of rows.

TVM's own form selects the source of every element; this one is a vector copy per row and input.
Floor: every byte read once and written once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.target import Isa


def concat(operands: Sequence[TensorType], result: TensorType, axis: int, isa: Isa) -> KernelForm:
    """Operands of one dtype and rank, side by side along ``axis`` (counted from 0)."""
    last = len(result.shape) - 1
    lanes = isa.lanes * 4 // np.dtype(result.dtype).itemsize
    with tir.kernel(f"concat_{isa.name}", operands, [result]) as k:
        *sources, y = k.buffers
        start = 0
        for operand, source in zip(operands, sources, strict=True):
            with ExitStack() as loops:
                outer = [loops.enter_context(T.serial(0, d)) for d in operand.shape[:-1]]
                target = [i + start if a == axis else i for a, i in enumerate(outer)]

                def copy(
                    column: Any,
                    width: int,
                    source: Any = source,
                    outer: list[Any] = outer,
                    target: list[Any] = target,
                    shift: int = start if axis == last else 0,
                ) -> None:
                    row = simd.load(source, outer, column, width)
                    simd.save(y, target, column + shift, width, row)

                simd.for_blocks(operand.shape[-1], lanes, copy)
            start += operand.shape[axis]
    return KernelForm(k.func)
