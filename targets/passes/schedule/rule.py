"""One TIR function in stages → the same function with a schedule by rule."""

from __future__ import annotations

from typing import Any

import tvm.script.ir_builder.tirx as T
from tvm import tirx
from tvm.script.ir_builder import IRBuilder

from millijoule.targets.passes.schedule.emit import emit
from millijoule.targets.passes.schedule.stages import Stage, stages_of, substitute
from millijoule.targets.target import Isa


def scheduled(func: tirx.PrimFunc, isa: Isa) -> tirx.PrimFunc:
    """``func`` rewritten. Raises NoRuleError, or whatever TVM raises, if no rule covers it."""
    parts = stages_of(func)
    written = {stage.buffer for stage in parts.stages}
    with IRBuilder() as builder, T.prim_func(private=True, s_tir=True):
        T.func_name("main")
        T.func_attr({"tirx.noalias": True})
        params = [T.arg(p.name, T.buffer(p.shape, str(p.ty.dtype))) for p in parts.params]
        with T.sblock("root"), T.sblock("scheduled"):
            pairs = list(zip(parts.params, params, strict=True))
            T.reads(*[_whole(new) for old, new in pairs if old not in written])
            T.writes(*[_whole(new) for old, new in pairs if old in written])
            buffers = dict(pairs)
            for old in parts.scratch:
                if old in written:
                    buffers[old] = T.alloc_buffer(old.shape, str(old.ty.dtype))
            for stage in parts.stages:
                emit(_on(stage, buffers), isa)
    return builder.get()


def _on(stage: Stage, buffers: dict[Any, Any]) -> Stage:
    """``stage`` on the buffers of the new function."""
    return Stage(
        stage.loops,
        buffers[stage.buffer],
        tuple(substitute(i, buffers) for i in stage.indices),
        substitute(stage.value, buffers),
        stage.init,
    )


def _whole(buffer: Any) -> Any:
    return buffer[tuple(slice(0, extent) for extent in buffer.shape)]
