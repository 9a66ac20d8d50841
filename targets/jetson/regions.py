"""The program of a model whose regions are cut out before anything is fused.

No kernel belongs to a region and to the rest, so that something else may take its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import tvm
from tvm import relax

from millijoule.bundle import SplitPlan
from millijoule.converters.model import Model
from millijoule.targets.cpu.plan import Plan, make_plan
from millijoule.targets.jetson.cut import cut, results_of
from millijoule.targets.jetson.join import Bound, aliased, join
from millijoule.targets.jetson.pipeline import lower_for_cuda
from millijoule.targets.jetson.split import Split
from millijoule.targets.target import Target


@dataclass(frozen=True)
class SplitProgram:
    """The plan of the program; that of the split, with the kernels of every region or why it has
    none of its own; and where each region lies, None for refused ones."""

    plan: Plan
    split: SplitPlan
    bounds: tuple[Bound | None, ...]


def plan_split(model: Model, target: Target, split: Split) -> SplitProgram:
    """The program of ``model`` with the regions of ``split``.

    A region whose outputs an engine could not write is refused, and lowered with what is around it.
    """
    results, _ = results_of(model.module)
    variables = [r for r in results if isinstance(r, relax.Var)]
    constant = "" if len(variables) == len(results) else "the model gives a constant"
    reasons = [constant] * len(split.runs)
    while not all(reasons):
        numbers = [i for i, reason in enumerate(reasons) if not reason]
        pieces = cut(model.module, [split.runs[i] for i in numbers], model.layers)
        plans = [_plan(piece.module, piece.layers, target) for piece, _ in pieces]
        refused = False
        for plan, (_, run) in zip(plans, pieces, strict=True):
            if run is not None and aliased(plan):
                reasons[numbers[run]] = aliased(plan)
                refused = True
        if not refused:
            params = list(model.module["main"].params)
            plan, bounds = join([piece for piece, _ in pieces], plans, params, variables)
            pairs = zip(pieces, bounds, strict=True)
            places = {numbers[run]: b for (_, run), b in pairs if run is not None}
            return _program(plan, split.plan, places, reasons)
    return _program(_plan(model.module, model.layers, target), split.plan, {}, reasons)


def _plan(module: tvm.IRModule, layers: Mapping[str, str], target: Target) -> Plan:
    return make_plan(lower_for_cuda(module, target, layers), target.alignment)


def _program(
    plan: Plan, split: SplitPlan, places: Mapping[int, Bound], reasons: Sequence[str]
) -> SplitProgram:
    regions = []
    for index, (region, reason) in enumerate(zip(split.regions, reasons, strict=True)):
        if index in places:
            place = places[index]
            regions.append(replace(region, first_kernel=place.first_call, kernels=place.n_calls))
        else:
            regions.append(replace(region, refused=reason))
    bounds = tuple(places.get(index) for index in range(len(reasons)))
    return SplitProgram(plan, replace(split, regions=tuple(regions)), bounds)
