"""A loop along time as MIL's ``while_loop``; its body sees what is outside of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb  # noqa: N813 - its usual name

from millijoule.converters.ops import TensorType
from millijoule.targets.coreml.builder import MilEmitter
from millijoule.targets.graph import Arg, Emitter, Node, Value


def while_loop(
    g: MilEmitter, node: Node, walk_step: Callable[[Emitter, Sequence[Arg]], list[Arg]]
) -> tuple[Value, ...]:
    """Emit ``node.scan``: variables are the step number, the states, and the stacked results."""
    plan = node.scan
    assert plan is not None
    kinds = zip(plan.results, node.results, strict=True)
    stacked = [t for (kind, _), t in kinds if kind == "stack"]
    states = [g.handle(node.args[i]) for i in plan.carried]
    state_types = [_type(node.args[i]) for i in plan.carried]
    start = [
        np.zeros(1, np.int32),
        *states,
        *(np.zeros(t.shape, np.float32) for t in stacked),
    ]
    g.written += 1

    def condition(now: Any, *_: Any) -> Any:
        return mb.less(x=mb.squeeze(x=now, axes=[0]), y=np.int32(plan.steps))

    def body(now: Any, *variables: Any) -> list[Any]:
        args: list[Arg] = list(node.args)
        for place, (index, t) in enumerate(zip(plan.carried, state_types, strict=True)):
            args[index] = Value(f"state{place}", t, variables[place])
        for index, axis in plan.sequences.items():
            args[index] = _at(g, args[index], now, axis)
        results = walk_step(g, args)
        following = [_variable(g.handle(r)) for r in results[: len(states)]]
        totals = variables[len(states) :]
        rows = [g.handle(r) for r in results[len(states) :]]
        put = [
            mb.scatter(
                data=total,
                indices=now,
                updates=mb.expand_dims(x=row, axes=[plan.axis]),
                axis=plan.axis,
                mode="update",
            )
            for total, row in zip(totals, rows, strict=True)
        ]
        return [mb.add(x=now, y=np.ones(1, np.int32)), *following, *put]

    outs = mb.while_loop(_cond=condition, _body=body, loop_vars=tuple(start))
    offset = {"carry": 1, "stack": 1 + len(states)}
    return tuple(
        Value(f"loop{i}", t, outs[offset[kind] + index])
        for i, ((kind, index), t) in enumerate(zip(plan.results, node.results, strict=True))
    )


def _variable(state: Any) -> Any:
    """``state`` as a variable of the loop: coremltools gives joined tensors symbols for values, and
    would have them be the same after every step. Its own passes take the product by one out."""
    return state if state.sym_val is None else mb.mul(x=state, y=np.float32(1))


def _type(arg: Arg) -> TensorType:
    if isinstance(arg, Value):
        return arg.type
    array = np.asarray(arg)
    return TensorType(array.shape, str(array.dtype))


def _at(g: MilEmitter, sequence: Arg, now: Any, axis: int) -> Value:
    """One step of ``sequence``; of a list of numbers, a list of one."""
    t = _type(sequence)
    step = mb.gather(x=g.handle(sequence), indices=now, axis=axis)
    without = (*t.shape[:axis], *t.shape[axis + 1 :])
    if without:
        step = mb.squeeze(x=step, axes=[axis])
    return Value("step", TensorType(without or (1,), t.dtype), step)
