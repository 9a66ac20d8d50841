"""Relax → Relax: from a float program to one that computes on integers.

Runs behind `channels_last` and in front of the lowering of dense layers and vocabulary ops. What
becomes of what, and every fixed-point format, is in docs/quantization.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tvm
from tvm import relax

from millijoule.targets.passes.layout import channels_last
from millijoule.targets.passes.quantize.graph import Graph
from millijoule.targets.passes.quantize.rewrite import (
    LayerNote,
    Rewriter,
    Rewritten,
    StateMeaning,
    first_guess,
)

__all__ = [
    "DenseInput",
    "LayerNote",
    "Rewritten",
    "StateMeaning",
    "dense_inputs",
    "prepare",
    "quantize_module",
]

_ROUNDS = 4  # guesses of what states mean, before those that still change become float


def prepare(module: tvm.IRModule) -> tvm.IRModule:
    """The form that quantization works on: channels last, nothing dead, no aliases."""
    transform = relax.transform
    passes = [
        transform.CanonicalizeBindings(),
        transform.DeadCodeElimination(),
        channels_last(),
        transform.CanonicalizeBindings(),
        transform.DeadCodeElimination(),
    ]
    return tvm.transform.Sequential(passes)(_with_tuple(module))


def _with_tuple(module: tvm.IRModule) -> tvm.IRModule:
    """``main`` returning a tuple, also of a single tensor, which some importers return bare."""
    main = module["main"]
    result = main.body.body
    if isinstance(result.ty, relax.TupleType):
        return module
    body = relax.SeqExpr(main.body.blocks, relax.Tuple([result]))
    function = relax.Function(
        main.params, body, relax.TupleType([result.ty]), is_pure=True, attrs=main.attrs
    )
    whole = tvm.IRModule(dict(module.functions), attrs=module.attrs)
    whole.update_func(module.get_global_var("main"), function)
    return whole


@dataclass(frozen=True)
class DenseInput:
    """The real input of a dense layer; ``window``: the last steps of a stream, [B, taps, C]."""

    expr: relax.Expr
    window: bool


def dense_inputs(module: tvm.IRModule, n_states: int) -> tuple[tvm.IRModule, list[DenseInput]]:
    """A prepared module that also returns the inputs of its dense layers, and these inputs.

    They come behind the module's outputs, before the new values of its ``n_states`` states.
    """
    graph = Graph(module)
    windows = graph.windows(n_states)
    inputs = [DenseInput(root.x, root.x in windows) for root in graph.roots.values()]
    return graph.with_outputs([dense.expr for dense in inputs], n_states), inputs


def quantize_module(
    module: tvm.IRModule, layers: Mapping[str, str], scales: Sequence[float], n_states: int
) -> Rewritten:
    """Rewrite a prepared module.

    Args:
        layers: layer names by Relax variable, see `converters.importer`.
        scales: per dense layer, in the order of `dense_inputs`, what one unit of its int8 input is
            worth.
        n_states: how many of the last parameters are states of a stream.

    Raises UnsupportedError naming the layer whose values no integer format of ours holds.
    """
    graph = Graph(module)
    by_root = dict(zip(graph.roots, scales, strict=True))
    guess = first_guess(graph, n_states, by_root)
    while True:
        for _ in range(_ROUNDS):
            rewritten, written = Rewriter(graph, by_root, layers, guess).run()
            if written == guess:
                return rewritten
            before, guess = guess, written
        # sums over the steps of a stream have no bound: they stay float
        guess = tuple(
            new if new == old else StateMeaning("float32", 255)
            for new, old in zip(guess, before, strict=True)
        )
