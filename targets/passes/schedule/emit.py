"""Stages → code: vectors along contiguous loops, blocked transposes, sums in registers."""

from __future__ import annotations

from typing import Any

from millijoule.targets.kernels.form import parallel_chunks
from millijoule.targets.passes.schedule import loops as loop
from millijoule.targets.passes.schedule.access import Strides, merged
from millijoule.targets.passes.schedule.nest import lanes_of, open_loops, store, work_of
from millijoule.targets.passes.schedule.reduction import emit_reduction
from millijoule.targets.passes.schedule.stages import Loop, Stage
from millijoule.targets.passes.schedule.transpose import emit_transpose, find_transpose
from millijoule.targets.target import Isa


def emit(stage: Stage, isa: Isa) -> None:
    """Write the code of one stage through the IRBuilder."""
    strides = merged(stage)
    if stage.init is not None:
        emit_reduction(strides, isa)
        return
    inner = _vector_loop(strides)
    transpose = find_transpose(strides)
    if transpose is not None and (inner is None or inner.most < lanes_of(stage, isa)):
        emit_transpose(strides.stage, transpose, isa)
    elif inner is None:
        with open_loops(strides.stage, strides.stage.loops) as values:
            store(strides.stage, values)
    else:
        _vectors(strides.stage, inner, isa)


def _vector_loop(strides: Strides) -> Loop | None:
    """The longest loop along which all memory is contiguous."""
    candidates = [item for item in strides.stage.loops if strides.contiguous(item)]
    return max(candidates, key=lambda item: item.most, default=None)


def _vectors(stage: Stage, inner: Loop, isa: Isa) -> None:
    lanes = lanes_of(stage, isa)
    outer = [item for item in stage.loops if item is not inner]
    with open_loops(stage, outer) as values:

        def block(start: Any, width: int) -> None:
            loop.for_lanes(start, width, lambda at, _: store(stage, values | {inner.var: at}))

        threads = 1 if outer else parallel_chunks(inner.most // lanes, work_of(stage))
        loop.for_blocks(inner.extent, lanes, block, loop.parallel if threads > 1 else loop.serial)
