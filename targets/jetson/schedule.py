"""Fused TIR functions → CUDA schedules: every function bound to blocks and threads.

The seam between lowering and kernels: `schedule` is given a module whose `PrimFunc`s are what the
device-independent passes made (see `pipeline`), and returns it with each of them bound. What it
does not know it hands to TVM's rules for GPUs, and what they do not cover runs in one thread:
correct, slow, and said in the manifest (``scheduled`` is false).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.s_tir import dlight
from tvm_ffi import structural_map, structural_walk

from millijoule.targets.passes.meta import KernelMeta, with_meta
from millijoule.targets.passes.schedule.intrinsics import with_vector_functions


def schedule(module: tvm.IRModule, target: Any) -> tvm.IRModule:
    """``module`` with every `PrimFunc` bound to threads of the TVM target ``target``.

    Names, parameters and attributes stay. Bound functions are left as they are.
    """
    functions = {}
    for gv, func in module.functions.items():
        if not isinstance(func, tirx.PrimFunc) or is_bound(func):
            functions[gv] = func
        else:  # TVM would call CUDA's fast functions, whose errors grow with the argument
            functions[gv] = with_vector_functions(_by_rule(private(func), target))
    return tvm.IRModule(functions, attrs=module.attrs)


def is_bound(func: tirx.PrimFunc) -> bool:
    """Whether some loop of ``func`` runs over threads."""
    found: list[Any] = []
    structural_walk(func.body, (tirx.For, lambda loop: found.append(loop.thread_binding)))
    return any(binding is not None for binding in found)


def private(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``func`` with the buffers that its body declares private to a thread.

    Only kernels may have memory for all threads, and get it as parameters (`KernelForm.scratch`).
    """
    found: list[Any] = []
    structural_walk(func.body, (tirx.AllocBuffer, lambda s: found.append(s.buffer)))
    own = {
        buffer: tirx.decl_buffer(buffer.shape, str(buffer.ty.dtype), buffer.name, scope="local")
        for buffer in found
        if buffer.scope() == "global"
    }
    return structural_map(func, (tirx.Var, lambda v: own.get(v, v))) if own else func


def _by_rule(func: tirx.PrimFunc, target: Any) -> tirx.PrimFunc:
    """``func`` by the first of TVM's rules that takes it, else in one thread."""
    rules = (
        dlight.gpu.Matmul(),
        dlight.gpu.GEMV(),
        dlight.gpu.Reduction(),
        dlight.gpu.GeneralReduction(),
        dlight.gpu.Fallback(),
    )
    if _reduces_one(func):
        return single_thread(func)
    module = tvm.IRModule({"main": func})
    with target:
        try:
            made = dlight.ApplyDefaultSchedule(*rules)(module)["main"]
        except s_tir.ScheduleError:  # a rule took it up, and found that a step is not allowed
            made = func
    if is_bound(made) and fits(made):
        return made
    return single_thread(func)


def _reduces_one(func: tirx.PrimFunc) -> bool:
    """Whether ``func`` sums over one element: TVM's rules then add what follows the sum twice."""
    ones: list[bool] = []

    def visit(block: s_tir.SBlock) -> None:
        reduced = [v for v in block.iter_vars if v.iter_type == tirx.IterVar.CommReduce]
        extents = [int(v.dom.extent) for v in reduced if isinstance(v.dom.extent, tirx.IntImm)]
        ones.append(bool(reduced) and extents == [1] * len(reduced))

    structural_walk(func.body, (s_tir.SBlock, visit))
    return any(ones)


def fits(func: tirx.PrimFunc) -> bool:
    """Whether every outermost loop of ``func`` is bound: the host has no loops of its own."""
    loose: list[Any] = []

    def visit(statement: Any, bound: bool) -> None:
        if isinstance(statement, tirx.For):
            visit(statement.body, bound or statement.thread_binding is not None)
        elif isinstance(statement, tirx.SeqStmt):
            for part in statement.seq:
                visit(part, bound)
        elif isinstance(statement, s_tir.SBlockRealize):
            visit(statement.block.body, bound)
        elif isinstance(statement, tirx.BufferStore) and not bound:
            loose.append(statement)

    visit(func.body, False)
    return not loose


def single_thread(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``func`` as one kernel per outermost block, each of one thread."""
    sch = s_tir.Schedule(structural_map(func, (tirx.For, _serial)))
    root = sch.get_sblock("root")
    for block in sch.get_child_blocks(root):
        loops = sch.get_loops(block)
        first = loops[0] if loops else block
        thread = sch.add_unit_loop(first)
        sch.bind(sch.add_unit_loop(thread), "blockIdx.x")
        sch.bind(thread, "threadIdx.x")
    made = sch.mod["main"]
    meta = KernelMeta.of_function(func)
    return with_meta(made, replace(meta, scheduled=False)) if meta else made


def _serial(loop: tirx.For) -> tirx.For:
    """A loop of kernels for CPUs, which may be parallel or of vectors, as a plain one."""
    kinds = (tirx.ForKind.PARALLEL, tirx.ForKind.VECTORIZED)
    if loop.kind not in kinds:
        return loop
    return tirx.For(loop.loop_var, loop.min, loop.extent, tirx.ForKind.SERIAL, loop.body)
