"""Calls of TIR functions without a kernel of ours → functions scheduled by rule, with their meta.

The rules (`emit`): loops that are contiguous in all memory become one, the inner one vectors;
library calls become `kernels.functions`; transposes go through registers tile by tile; reductions
keep partial results in registers; large work goes to the thread pool. A function that no rule
covers stays as TVM made it, and its meta says so (``scheduled`` is false).

Something else may schedule functions first (``tuned``: `millijoule.targets.tuning`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.relax.expr_functor import PyExprMutator, mutator

from millijoule.targets.passes.count import count_arithmetic
from millijoule.targets.passes.meta import KernelMeta, with_meta
from millijoule.targets.passes.rewrite_main import rewrite_main
from millijoule.targets.passes.schedule.rule import scheduled
from millijoule.targets.passes.schedule.stages import NoRuleError, Sizes
from millijoule.targets.passes.sizes import sizes_of
from millijoule.targets.target import Target

_CALL_TIR = "relax.call_tir"


@dataclass(frozen=True)
class Scheduled:
    """A function, whether it has a schedule, and the digest of the tuning record it comes from."""

    func: tirx.PrimFunc
    scheduled: bool = True
    record: str = ""


# A function's name, itself, and what its size variables stand for → the same scheduled
Scheduler = Callable[[str, tirx.PrimFunc, Sizes], Scheduled]
# … or None: to be scheduled by rule
Tuned = Callable[[str, tirx.PrimFunc, Sizes], "Scheduled | None"]


def schedule_rest(
    target: Target, layers: Mapping[str, str], tuned: Tuned | None = None
) -> tvm.transform.Pass:
    """The pass over function ``main``; ``layers`` maps variable names to layer names.

    ``tuned`` is asked first. Bare-metal targets keep TVM's functions: vector forms would cost them
    code size.
    """

    def schedule(name: str, func: tirx.PrimFunc, sizes: Sizes) -> Scheduled:
        made = tuned(name, func, sizes) if tuned is not None else None
        return made or by_rule(func, sizes)

    def by_rule(func: tirx.PrimFunc, sizes: Sizes) -> Scheduled:
        if target.bare_metal or target.isa.lanes == 1:
            return Scheduled(func, False)
        try:
            return Scheduled(scheduled(func, target.isa, sizes))
        except NoRuleError:  # anything else is a fault of a rule
            return Scheduled(func, False)

    return name_rest(layers, schedule)


def name_rest(layers: Mapping[str, str], schedule: Scheduler) -> tvm.transform.Pass:
    """The pass that gives what ``schedule`` makes of every function without a kernel its meta."""
    return rewrite_main("ScheduleRest", lambda mod: _Scheduling(mod, layers, schedule))


@mutator
class _Scheduling(PyExprMutator):
    def __init__(self, mod: tvm.IRModule, layers: Mapping[str, str], schedule: Scheduler) -> None:
        super().__init__(mod)
        self._mod, self._layers, self._schedule = mod, layers, schedule
        self._layer = ""
        self._done: dict[Any, Scheduled] = {}

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        self._layer = self._layers.get(binding.var.name, "")
        super().visit_var_binding_(binding)

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        if getattr(call.op, "name", "") != _CALL_TIR:
            return call
        gv = call.args[0]
        func = self._mod[gv]
        if KernelMeta.of_function(func) is not None:
            return call
        types = list(call.ty.fields) if isinstance(call.ty, relax.TupleType) else [call.ty]
        results = [relax.Var("y", ty) for ty in types]
        sizes = sizes_of(func, _arguments(call, results))
        name = gv.name_hint
        if gv not in self._done:
            self._done[gv] = self._schedule(name, func, sizes)
        new = self._done[gv]
        multiplies, adds = count_arithmetic(func, sizes)
        meta = KernelMeta(
            name,
            self._layer,
            len(results),
            multiplies,
            adds,
            scheduled=new.scheduled,
            tuned=new.record,
        )
        own = self.builder_.add_func(with_meta(new.func, meta), name)
        return relax.Call(call.op, [own, *call.args[1:]], call.attrs, call.ty_args)


def _arguments(call: relax.Call, results: Sequence[relax.Var]) -> list[Any]:
    """Tensors, results and numbers of a ``call_tir``, in the order of the function's parameters."""
    _, given, *numbers = call.args
    operands = list(given.fields) if isinstance(given, relax.Tuple) else [given]
    return [*operands, *results, *(n for shape in numbers for n in shape.values)]
