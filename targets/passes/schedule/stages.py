"""A fused TIR function as a list of stages: loop nests that each store one value.

Injective producers are inlined into their consumers first, so that a chain of elementwise operators
is one stage and one pass over memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm_ffi import structural_map, structural_walk

from millijoule.converters.ops.symbols import size_of
from millijoule.sizes import Extent, most

Sizes = Mapping[Any, Extent]  # what the size variables of a function stand for
FIXED: Sizes = MappingProxyType({})
_COSTLY = 6  # loads and library calls that a value may have and still be computed twice


class NoRuleError(Exception):
    """A function that the rules do not cover; it stays as it is."""


@dataclass(frozen=True)
class Loop:
    """``var`` runs from 0 to ``extent``; ``reduced``: the stage accumulates over it.

    An extent that varies is an expression, and ``most`` the largest that it may be.
    """

    var: Any
    extent: Any
    reduced: bool = False
    most: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.extent, int):
            object.__setattr__(self, "most", self.extent)


@dataclass(frozen=True)
class Stage:
    """``buffer[indices] = value`` for all ``loops``; accumulated from ``init`` if that is given."""

    loops: tuple[Loop, ...]
    buffer: Any
    indices: tuple[Any, ...]
    value: Any
    init: Any = None


@dataclass(frozen=True)
class Stages:
    """A function's parameters, the buffers between its stages, and the stages in order.

    ``sizes``: what the function's size variables stand for.
    """

    params: tuple[Any, ...]
    scratch: tuple[Any, ...]
    stages: tuple[Stage, ...]
    sizes: Sizes


def stages_of(func: tirx.PrimFunc, sizes: Sizes = FIXED) -> Stages:
    """``func`` in stages. Raises NoRuleError if it has any other form.

    ``sizes``: what the variables of its shapes stand for.
    """
    if not isinstance(func.body, s_tir.SBlockRealize):
        raise NoRuleError("no root block")
    func = _inlined(func, sizes)
    root = func.body.block
    body = root.body
    nests = list(body.seq) if isinstance(body, tirx.SeqStmt) else [body]
    if any(str(p.ty).startswith("T.handle") for p in func.params) or root.match_buffers:
        raise NoRuleError("parameters that are no buffers")
    return Stages(
        tuple(func.params),
        tuple(root.alloc_buffers),
        tuple(_stage(nest, sizes) for nest in nests),
        sizes,
    )


def _inlined(func: tirx.PrimFunc, sizes: Sizes) -> tirx.PrimFunc:
    """``func`` with every cheap or singly used injective block merged into its consumers."""
    schedule = s_tir.Schedule(tvm.IRModule({"main": func}), error_render_level="none")
    changed = True
    while changed:
        changed = False
        for block in schedule.get_child_blocks(schedule.get_sblock("root")):
            if _worth_inlining(schedule, block, sizes):
                try:
                    schedule.compute_inline(block)
                except s_tir.schedule.schedule.ScheduleError:
                    continue
                changed = True
                break
    return schedule.mod["main"]


def _worth_inlining(schedule: Any, block: Any, sizes: Sizes) -> bool:
    node, consumers = schedule.get(block), schedule.get_consumers(block)
    spatial = all(v.iter_type == tirx.IterVar.DataPar for v in node.iter_vars)
    if not consumers or node.init is not None or not spatial:
        return False
    if not isinstance(node.body, tirx.BufferStore):
        return False
    cheap = cost(node.body.value) < _COSTLY
    once = len(consumers) == 1 and _volume(schedule.get(consumers[0]), sizes) <= _volume(
        node, sizes
    )
    return cheap or once


def cost(value: Any) -> int:
    """Loads in ``value``, and four for every call."""
    total = 0

    def load(_: Any) -> None:
        nonlocal total
        total += 1

    def call(node: Any) -> None:
        nonlocal total
        total += 4 * (getattr(node.op, "name", "") != "tirx.if_then_else")

    structural_walk(value, ((tvm.ir.expr.TensorLoad, load), (tvm.ir.Call, call)))
    return total


def _volume(block: Any, sizes: Sizes) -> int:
    total = 1
    for v in block.iter_vars:
        total *= most(size_of(v.dom.extent, sizes))
    return total


def _extent(value: Any) -> Any:
    return int(value) if isinstance(value, tirx.IntImm) else value


def _stage(nest: Any, sizes: Sizes) -> Stage:
    loops: list[tuple[Any, Any]] = []
    while isinstance(nest, tirx.For):
        if nest.kind != tirx.ForKind.SERIAL or _extent(nest.min) != 0:
            raise NoRuleError("a loop that is not plain")
        loops.append((nest.loop_var, _extent(nest.extent)))
        nest = nest.body
    if not isinstance(nest, s_tir.SBlockRealize) or not isinstance(
        nest.block.body, tirx.BufferStore
    ):
        raise NoRuleError("a nest that is no single store")
    if not isinstance(nest.predicate, tirx.IntImm) or not int(nest.predicate):
        raise NoRuleError("a predicate")
    block, store = nest.block, nest.block.body
    if block.alloc_buffers or block.match_buffers:
        raise NoRuleError("buffers of a block")
    values = dict(zip((v.var for v in block.iter_vars), nest.iter_values, strict=True))
    reduced: set[Any] = set()
    for v, value in zip(block.iter_vars, nest.iter_values, strict=True):
        if v.iter_type == tirx.IterVar.CommReduce:
            reduced |= variables(value)
    ones = {var: tirx.IntImm(str(var.ty.dtype), 0) for var, extent in loops if is_one(extent)}
    indices = [substitute(substitute(i, values), ones) for i in store.indices]
    init = None
    if block.init is not None:
        if not isinstance(block.init, tirx.BufferStore):
            raise NoRuleError("an initialisation of several values")
        init = substitute(substitute(block.init.value, values), ones)
    kept = tuple(
        Loop(v, e, v in reduced, most(size_of(e, sizes))) for v, e in loops if not is_one(e)
    )
    value = substitute(substitute(store.value, values), ones)
    return Stage(kept, store.buffer, tuple(indices), value, init)


def is_one(extent: Any) -> bool:
    """Whether a loop has one step whatever the sizes are."""
    return isinstance(extent, int) and extent == 1


def variables(value: Any) -> set[Any]:
    """Scalar variables in ``value``."""
    found: set[Any] = set()
    structural_walk(value, (tirx.Var, lambda v: found.add(v)))
    return found


def substitute(value: Any, replacements: dict[Any, Any]) -> Any:
    """``value`` with variables replaced, buffers among them; counters get the variable's type."""
    if not replacements:
        return value

    def replaced(var: Any) -> Any:
        new = replacements.get(var)
        if new is None:
            return var
        same = not isinstance(var.ty, tvm.ir.PrimType) or new.ty.dtype == var.ty.dtype
        return new if same else tirx.Cast(str(var.ty.dtype), new)

    return structural_map(value, (tirx.Var, replaced))


def loads(value: Any) -> Sequence[Any]:
    """Every element that ``value`` reads."""
    found: list[Any] = []
    structural_walk(value, (tvm.ir.expr.TensorLoad, lambda node: found.append(node)))
    return found
