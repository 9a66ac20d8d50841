"""Concatenation as plain copies of rows.

TVM's own form selects the source of every element; this one is a vector copy per row and input.
Floor: every byte read once and written once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.target import SCALAR, Isa


@dataclass(frozen=True)
class Part:
    """What one operand gives: elements ``start`` to ``stop`` along the axis, all of the others."""

    operand: TensorType
    start: int
    stop: int

    @staticmethod
    def whole(operand: TensorType, axis: int) -> Part:
        """All of an operand."""
        return Part(operand, 0, operand.shape[axis])


def concat(parts: Sequence[Part], result: TensorType, axis: int, isa: Isa) -> KernelForm:
    """Parts of one dtype and rank, side by side along ``axis`` (counted from 0)."""
    # small elements fill a register together; code for SCALAR may become C, which has no vectors
    lanes = 1 if isa == SCALAR else isa.lanes * 4 // np.dtype(result.dtype).itemsize
    with tir.kernel(f"concat_{isa.name}", [p.operand for p in parts], [result]) as k:
        *sources, y = k.buffers
        offset = 0
        for part, source in zip(parts, sources, strict=True):
            _copy(source, part, y, offset, axis, lanes)
            offset += part.stop - part.start
    return KernelForm(k.func)


def _copy(source: Any, part: Part, y: Any, offset: int, axis: int, lanes: int) -> None:
    """Copy ``part`` of ``source`` to ``y``, from ``offset`` on along ``axis``."""
    extents = [*part.operand.shape]
    extents[axis] = part.stop - part.start
    here = [part.start if a == axis else 0 for a in range(len(extents))]
    there = [offset if a == axis else 0 for a in range(len(extents))]
    with ExitStack() as loops:
        outer = [loops.enter_context(T.serial(0, d)) for d in extents[:-1]]
        read = [i + shift for i, shift in zip(outer, here, strict=False)]
        written = [i + shift for i, shift in zip(outer, there, strict=False)]

        def row(column: Any, width: int) -> None:
            values = simd.load(source, read, column + here[-1], width)
            simd.save(y, written, column + there[-1], width, values)

        simd.for_blocks(extents[-1], lanes, row)
