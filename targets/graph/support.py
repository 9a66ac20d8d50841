"""Which operators of a model a format's table lacks: asked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import tvm

from millijoule.converters.importer import COMPOSITE_PREFIX
from millijoule.errors import UnsupportedError
from millijoule.targets.graph.node import Table
from millijoule.targets.graph.walk import Graph


@dataclass(frozen=True)
class Missing:
    """An operator without an emitter, and the layer that calls it."""

    op: str
    layer: str


def missing(module: tvm.IRModule, table: Table, layers: Mapping[str, str]) -> list[Missing]:
    """Every call in ``module`` that ``table`` has no emitter for, in order of the calls."""
    found = []
    for function in Graph.functions(module):
        for call in Graph(module, function, layers).calls():
            if call.op not in table and call.scan is None:
                found.append(Missing(call.op, call.layer))
    return found


def check_precision(module: tvm.IRModule, precision: str, target: str) -> None:
    """UnsupportedError for float16 where numbers decide: its rounding would move spikes and signs.

    ``module``: before `expand`. One spike or sign more or less changes everything behind it, so no
    tolerance could be stated.
    """
    if precision == "float32":
        return
    for call in composites(module):
        if call.op in _DECIDES:
            raise UnsupportedError(
                f"[{target}] {precision} would move the {_DECIDES[call.op]} of layer"
                f" {call.layer!r}; build it as float32"
            )


# vocabulary ops with thresholds in them, and what these decide
_DECIDES = {
    "binary_attention": "signs",
    "binary_linear": "signs",
    "lif": "spikes",
    "lif_record": "spikes",
}


def composites(module: tvm.IRModule) -> list[Missing]:
    """Vocabulary ops that ``main`` calls, in order, with their layers."""
    found = []
    for call in Graph(module, module["main"], {}).calls():
        if call.op.startswith(COMPOSITE_PREFIX):
            found.append(Missing(call.op.removeprefix(COMPOSITE_PREFIX), call.layer))
    return found


def check(module: tvm.IRModule, table: Table, layers: Mapping[str, str], target: str) -> None:
    """UnsupportedError that names the operators ``target`` lacks and where they are called."""
    lacks = missing(module, table, layers)
    if not lacks:
        return
    names = sorted({m.op.removeprefix("relax.") for m in lacks})
    where = next((m.layer for m in lacks if m.layer), "")
    place = f" (first in layer {where!r})" if where else ""
    raise UnsupportedError(
        f"[{target}] operator {', '.join(names)} has no form there{place}; "
        f"see `mj targets --ops {target}` for those that have"
    )
