"""One TIR function in stages → the same function with a schedule by rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tvm.script.ir_builder.tirx as T
from tvm import tirx
from tvm.script.ir_builder import IRBuilder

from millijoule.converters.ops.symbols import size_of
from millijoule.sizes import most
from millijoule.targets.passes.schedule.emit import emit
from millijoule.targets.passes.schedule.stages import (
    FIXED,
    Loop,
    Sizes,
    Stage,
    stages_of,
    substitute,
)
from millijoule.targets.passes.sizes import is_buffer
from millijoule.targets.target import Isa


def scheduled(func: tirx.PrimFunc, isa: Isa, sizes: Sizes = FIXED) -> tirx.PrimFunc:
    """``func`` rewritten. Raises NoRuleError if no rule covers it.

    ``sizes``: what the variables of its shapes stand for.
    """
    parts = stages_of(func, sizes)
    written = {stage.buffer for stage in parts.stages}
    with IRBuilder() as builder, T.prim_func(private=True, s_tir=True):
        T.func_name("main")
        T.func_attr({"tirx.noalias": True})
        buffers: dict[Any, Any] = {}
        for p in parts.params:
            buffers[p] = _parameter(p, buffers)
        with T.sblock("root"), T.sblock("scheduled"):
            pairs = [(p, buffers[p]) for p in parts.params if is_buffer(p)]
            T.reads(*[_whole(new) for old, new in pairs if old not in written])
            T.writes(*[_whole(new) for old, new in pairs if old in written])
            for old in parts.scratch:
                if old in written:
                    buffers[old] = T.alloc_buffer(_largest(old, sizes), str(old.ty.dtype))
            for stage in parts.stages:
                emit(_on(stage, buffers), isa)
    return builder.get()


def _parameter(param: Any, known: dict[Any, Any]) -> Any:
    """A parameter of the new function like ``param``, a tensor or a number."""
    if not is_buffer(param):
        return T.arg(param.name, T.int64())
    shape = [substitute(d, known) for d in param.shape]
    return T.arg(param.name, T.buffer(shape, str(param.ty.dtype)))


def _on(stage: Stage, buffers: dict[Any, Any]) -> Stage:
    """``stage`` on the buffers of the new function."""
    return Stage(
        tuple(_loop(item, buffers) for item in stage.loops),
        buffers[stage.buffer],
        tuple(substitute(i, buffers) for i in stage.indices),
        substitute(stage.value, buffers),
        stage.init,
    )


def _loop(item: Loop, buffers: dict[Any, Any]) -> Loop:
    if isinstance(item.extent, int):
        return item
    return replace(item, extent=substitute(item.extent, buffers))


def _largest(buffer: Any, sizes: Sizes) -> list[Any]:
    """The buffer's shape with everything that varies at its most."""
    return [d if isinstance(d, tirx.IntImm) else most(size_of(d, sizes)) for d in buffer.shape]


def _whole(buffer: Any) -> Any:
    return buffer[tuple(slice(0, extent) for extent in buffer.shape)]
