"""Stages that read along one axis and write along another: square tiles, turned in registers.

Floor: every byte read once and written once, in whole cache lines. A tile of L×L takes L loads,
L·log₂L shuffles and L stores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
import tvm.script.ir_builder.tirx as T
from tvm_ffi import structural_equal, structural_map

from millijoule.targets.kernels import simd
from millijoule.targets.kernels.form import parallel_chunks
from millijoule.targets.passes.schedule import loops as loop
from millijoule.targets.passes.schedule.access import Strides
from millijoule.targets.passes.schedule.nest import Values, open_loops, store, value_at, work_of
from millijoule.targets.passes.schedule.stages import Loop, Stage, substitute
from millijoule.targets.target import Isa


@dataclass(frozen=True)
class Transpose:
    """``load`` is contiguous along ``read``, the result along ``written``."""

    load: Any
    read: Loop
    written: Loop


def find_transpose(strides: Strides) -> Transpose | None:
    """The one load of a stage that runs across its result, if there is exactly one."""
    stage = strides.stage
    written = next((item for item in stage.loops if strides.written(item) == 1), None)
    if written is None:
        return None
    across = [
        load
        for load, step in zip(strides.loads, strides.read(written), strict=True)
        if step not in (0, 1)
    ]
    if len(across) != 1 or np.dtype(str(across[0].ty.dtype)).itemsize != 4:
        return None
    position = next(i for i, load in enumerate(strides.loads) if load.same_as(across[0]))
    for item in stage.loops:
        if item is not written and strides.read(item)[position] == 1:
            return Transpose(across[0], item, written)
    return None


def emit_transpose(stage: Stage, move: Transpose, isa: Isa) -> None:
    """Whole tiles through registers, the edges one by one."""
    size = min(isa.lanes, 8)
    outer = [item for item in stage.loops if item not in (move.read, move.written)]
    rows, columns = move.read.extent // size * size, move.written.extent // size * size
    with open_loops(stage, outer) as values:
        if not _is_zero(rows) and not _is_zero(columns):
            kind = loop.serial if outer else _parallel_if_large(stage, move.read.most // size)
            with kind(0, rows // size) as i, loop.serial(0, columns // size) as j:
                _tile(stage, move, values, i * size, j * size, size)
        _edge(stage, move, values, (0, rows), (columns, move.written.extent))
        _edge(stage, move, values, (rows, move.read.extent), (0, move.written.extent))


def _parallel_if_large(stage: Stage, tiles: int) -> Any:
    return loop.parallel if parallel_chunks(tiles, work_of(stage)) > 1 else loop.serial


def _edge(
    stage: Stage, move: Transpose, values: Values, rows: tuple[Any, Any], columns: tuple[Any, Any]
) -> None:
    if _empty(rows) or _empty(columns):
        return
    with loop.serial(*rows) as i, loop.serial(*columns) as j:
        store(stage, {**values, move.read.var: i, move.written.var: j})


def _is_zero(extent: Any) -> bool:
    return isinstance(extent, int) and extent == 0


def _empty(bounds: tuple[Any, Any]) -> bool:
    """Whether there is nothing between ``bounds`` whatever the sizes are."""
    return all(isinstance(b, int) for b in bounds) and bounds[0] == bounds[1]


def _tile(stage: Stage, move: Transpose, values: Values, i: Any, j: Any, size: int) -> None:
    """``size`` × ``size`` elements from (read, written) = (i, j)."""
    dtype = str(move.load.ty.dtype)
    rows = [T.alloc_buffer((size,), dtype) for _ in range(size)]
    for r in range(size):
        with loop.vectorized(size) as lane:
            at = {**values, move.read.var: i + lane, move.written.var: j + r}
            T.buffer_store(rows[r], value_at(move.load, at), [lane])
    turned = turn(rows, size, dtype)
    for r in range(size):
        with loop.vectorized(size) as lane:
            at = {**values, move.read.var: i + r, move.written.var: j + lane}
            value = _with_load(stage.value, move.load, turned[r][lane])
            indices = [substitute(index, at) for index in stage.indices]
            T.buffer_store(stage.buffer, value_at(value, at), indices)


def _with_load(value: Any, load: Any, replacement: Any) -> Any:
    def replaced(node: Any) -> Any:
        return replacement if structural_equal(node, load) else node

    return structural_map(value, (tvm.ir.expr.TensorLoad, replaced))


def turn(rows: list[Any], size: int, dtype: str) -> list[Any]:
    """The transpose of ``rows``: log₂ ``size`` rounds that each exchange halves of halves."""
    whole = simd.lanes_at(0, size)
    step = 1
    while step < size:
        following = [T.alloc_buffer((size,), dtype) for _ in range(size)]
        for r in range(size):
            low, high = rows[r & ~step], rows[r | step]
            shift = 0 if r & step == 0 else step
            picked = [k + shift if k & step == 0 else size + k - step + shift for k in range(size)]
            T.buffer_store(following[r], T.Shuffle([low[whole], high[whole]], picked), [whole])
        rows, step = following, 2 * step
    return rows
