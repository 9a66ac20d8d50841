"""A loop along time as ``WHILE``: its variables are the step number, states, sequences, results."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from millijoule.converters.ops import TensorType
from millijoule.targets.graph import Arg, Emitter, Node, Value
from millijoule.targets.litert.builder import LitertEmitter

_ONE = TensorType((1,), "int32")
_FLAG = TensorType((), "bool")


def while_loop(
    g: LitertEmitter, node: Node, walk_step: Callable[[Emitter, Sequence[Arg]], list[Arg]]
) -> tuple[Value, ...]:
    """Emit ``node.scan``; a subgraph sees nothing but its variables and constants of its own."""
    plan = node.scan
    assert plan is not None
    kinds = zip(plan.results, node.results, strict=True)
    stacked = [t for (kind, _), t in kinds if kind == "stack"]
    # operands that are neither constant nor a state go round unchanged
    passed = [i for i, a in enumerate(node.args) if isinstance(a, Value) and i not in plan.carried]
    carried = [g.value(node.args[i]) for i in plan.carried]
    unchanged = [g.value(node.args[i]) for i in passed]
    zeros = [g.value(np.zeros(t.shape, t.dtype)) for t in stacked]
    start = [g.ints([0]), *carried, *zeros, *unchanged]
    condition = LitertEmitter(g.shared, g.weights, f"{node.layer}:cond")
    seen = [condition.input(f"v{i}", v.type) for i, v in enumerate(start)]
    less = condition.op("LESS", [seen[0], condition.ints([plan.steps])], TensorType((1,), "bool"))
    condition.output("more", condition.op("RESHAPE", [less, condition.ints([])], _FLAG))

    body = LitertEmitter(g.shared, g.weights, f"{node.layer}:body")
    body.layer = node.layer
    variables = [body.input(f"v{i}", v.type) for i, v in enumerate(start)]
    now, states = variables[0], variables[1 : 1 + len(carried)]
    totals = variables[1 + len(carried) : 1 + len(carried) + len(stacked)]
    inside: list[Arg] = list(node.args)
    for i, value in zip(plan.carried, states, strict=True):
        inside[i] = value
    for i, value in zip(passed, variables[-len(passed) :] if passed else [], strict=True):
        inside[i] = value
    for i, axis in plan.sequences.items():
        inside[i] = _at(body, inside[i], now, axis)
    results = walk_step(body, inside)
    following = results[: len(states)]
    rows = results[len(states) :]
    body.output("next", body.op("ADD", [now, body.ints([1])], _ONE))
    for place, state in enumerate(following):
        body.output(f"state{place}", state)
    for place, (total, row) in enumerate(zip(totals, rows, strict=True)):
        body.output(f"total{place}", _put(body, total, row, now, plan.axis))
    for value in variables[-len(passed) :] if passed else []:
        body.output(value.name, value)
    outs = g.ops(
        "WHILE",
        start,
        [v.type for v in start],
        condSubgraphIndex=condition.index,
        bodySubgraphIndex=body.index,
    )
    offset = {"carry": 1, "stack": 1 + len(carried)}
    return tuple(outs[offset[kind] + index] for kind, index in plan.results)


def _at(body: LitertEmitter, sequence: Arg, now: Value, axis: int) -> Value:
    """One step of ``sequence``; of a list of numbers, a list of one."""
    tensor = body.value(sequence)
    shape = tensor.type.shape
    kept = (*shape[:axis], 1, *shape[axis + 1 :])
    step = body.op("GATHER", [tensor, now], TensorType(kept, tensor.type.dtype), axis=axis)
    without = (*shape[:axis], *shape[axis + 1 :]) or (1,)
    return body.op("RESHAPE", [step, body.ints(without)], TensorType(without, tensor.type.dtype))


def _put(body: LitertEmitter, total: Value, row: Arg, now: Value, axis: int) -> Value:
    """``total`` with ``row`` at the present step."""
    t = total.type
    shape = (*t.shape[:axis], 1, *t.shape[axis + 1 :])
    update = body.op("RESHAPE", [row, body.ints(shape)], TensorType(shape, t.dtype))
    rank = len(t.shape)
    pieces = [body.ints([0])] * axis + [now] + [body.ints([0])] * (rank - axis - 1)
    where = body.op("CONCATENATION", pieces, TensorType((rank,), "int32"), axis=0)
    return body.op("DYNAMIC_UPDATE_SLICE", [total, update, where], t)
