"""One stage while its code is written: which loop variable stands for what so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels.form import parallel_chunks
from millijoule.targets.passes.schedule import loops as loop
from millijoule.targets.passes.schedule.intrinsics import with_vector_functions
from millijoule.targets.passes.schedule.stages import Loop, Stage, cost, substitute
from millijoule.targets.target import Isa

Values = Mapping[Any, Any]


def lanes_of(stage: Stage, isa: Isa) -> int:
    """Elements per vector: as many of the result's type, or of float32, as a register holds."""
    size = np.dtype(str(stage.buffer.ty.dtype)).itemsize
    return max(1, isa.lanes * 4 // max(4, size))


def work_of(stage: Stage) -> int:
    """Roughly the operations of a stage, to decide on threads."""
    size = 1
    for item in stage.loops:
        size *= item.most
    return size * (1 + 2 * cost(stage.value))


@contextmanager
def open_loops(stage: Stage, outer: Sequence[Loop]) -> Iterator[dict[Any, Any]]:
    """Loops over ``outer``, the first on the thread pool if there is enough work."""
    with ExitStack() as stack:
        values: dict[Any, Any] = {}
        for position, item in enumerate(outer):
            threads = parallel_chunks(item.most, work_of(stage)) if position == 0 else 1
            kind = loop.parallel if threads > 1 else loop.serial
            values[item.var] = stack.enter_context(kind(0, item.extent))
        yield values


def value_at(value: Any, values: Values) -> Any:
    """``value`` for given loop variables, with vector functions."""
    return with_vector_functions(substitute(value, dict(values)))


def store(stage: Stage, values: Values, value: Callable[[Any], Any] = lambda v: v) -> None:
    """Store the stage's value, possibly changed by ``value``, for given loop variables."""
    indices = [substitute(i, dict(values)) for i in stage.indices]
    T.buffer_store(stage.buffer, value(value_at(stage.value, values)), indices)
