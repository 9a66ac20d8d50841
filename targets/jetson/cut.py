"""Cutting ``main`` into segments, each a module of its own: regions, and what lies between them.

Whatever lowering does to a segment, fusion included, ends at its boundary.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax
from tvm_ffi import structural_map

from millijoule.targets.passes.match import returned


@dataclass(frozen=True)
class Piece:
    """Bindings as a module of their own; ``inputs`` and ``outputs`` are variables of the whole."""

    module: tvm.IRModule
    inputs: tuple[relax.Var, ...]
    outputs: tuple[relax.Var, ...]
    layers: Mapping[str, str]


def bindings_of(module: tvm.IRModule) -> list[Any]:
    """The bindings of ``main`` in order."""
    return [b for block in module["main"].body.blocks for b in block.bindings]


def variables_in(expr: relax.Expr) -> list[relax.Var]:
    """Variables that ``expr`` reads, in order."""
    found: dict[relax.Var, None] = {}

    def visit(node: relax.Expr) -> None:
        if isinstance(node, relax.Var):
            found[node] = None

    relax.analysis.post_order_visit(expr, visit)
    return list(found)


def results_of(module: tvm.IRModule) -> tuple[list[relax.Expr], set[relax.Var]]:
    """What ``main`` returns, and the variables of tuples and aliases that were looked through."""
    return returned(module["main"].body.body, {b.var: b.value for b in bindings_of(module)})


def extract(
    module: tvm.IRModule,
    run: Sequence[Any],
    later: Collection[relax.Var],
    layers: Mapping[str, str],
) -> Piece:
    """The bindings ``run`` of ``module``; its outputs are what is in ``later``."""
    own = {b.var for b in run}
    inputs = dict.fromkeys(v for b in run for v in variables_in(b.value) if v not in own)
    outputs = tuple(b.var for b in run if b.var in later)
    builder = relax.BlockBuilder()
    known: dict[relax.Var, Any] = {v: relax.Var(v.name, v.ty) for v in inputs}
    named: dict[str, str] = {}
    with builder.function("main", list(known.values())):
        with builder.dataflow():
            for binding in run:
                value = structural_map(binding.value, (relax.Var, lambda v: known.get(v, v)))
                made = builder.emit(value, binding.var.name)
                known[binding.var] = made
                named[made.name] = layers.get(binding.var.name, "")
            given = builder.emit_output(relax.Tuple([known[v] for v in outputs]))
        builder.emit_func_output(given)
    functions = {gv: f for gv, f in module.functions.items() if gv.name_hint != "main"}
    main = builder.get()
    functions |= dict(main.functions.items())
    return Piece(tvm.IRModule(functions), tuple(inputs), outputs, named)


def cut(
    module: tvm.IRModule, runs: Sequence[tuple[int, int]], layers: Mapping[str, str]
) -> list[tuple[Piece, int | None]]:
    """All of ``module`` in order, with the number of the run (first binding, end) in ``runs``.

    ``runs`` are in order and do not overlap.
    """
    bindings = bindings_of(module)
    results, through = results_of(module)
    spans: list[tuple[int, int, int | None]] = []
    at = 0
    for number, (first, end) in enumerate(runs):
        spans += [(at, first, None), (first, end, number)]
        at = end
    spans.append((at, len(bindings), None))
    pieces: list[tuple[Piece, int | None]] = []
    later: set[Any] = {v for v in results if isinstance(v, relax.Var)}
    for first, end, region in reversed(spans):
        run = [b for b in bindings[first:end] if b.var not in through]
        piece = extract(module, run, later, layers)
        if piece.outputs:
            pieces.append((piece, region))
            later |= set(piece.inputs)
    return pieces[::-1]
