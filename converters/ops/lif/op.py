"""Relax form of ``lif``: result types, naive TIR and operation counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.converters.ops.lif.rule import LifRule
from millijoule.converters.ops.vocabulary import Attrs, OpCounts, TensorType, VocabularyOp, register

RULE_NAMES = ("charge", "reset", "delayed", "strict", "synaptic")


def rule_of(attrs: Attrs) -> LifRule:
    """The neuron's rule from the op's attributes."""
    return LifRule(**{name: attrs[name] for name in RULE_NAMES})


def _results(attrs: Attrs, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
    results = TensorType(operands[0].shape, attrs["dtype"]), operands[2]
    return (*results, operands[0]) if "record" in attrs else results


def fires(u: Any, threshold: Any, rule: LifRule) -> Any:
    """TIR condition of a spike."""
    return u > threshold if rule.strict else u >= threshold


def charged(v: Any, z: Any, decay: Any, threshold: Any, rule: LifRule, zero: Any) -> Any:
    """TIR expression of the potential before the immediate reset; ``zero`` has v's lanes."""
    u = v + (z - v) * decay if rule.charge == "blend" else decay * v + z
    return reset_before(u, v, threshold, rule, zero)


def reset_before(u: Any, v: Any, threshold: Any, rule: LifRule, zero: Any) -> Any:
    """``u`` after the resets that depend on the old potential ``v``; ``zero`` has u's lanes."""
    if not rule.looks_back:
        return u
    before = fires(v, threshold, rule)
    if rule.reset == "zero":
        return T.Select(before, zero, u)
    return u - T.Select(before, threshold, zero)


def after_reset(u: Any, v: Any, threshold: Any, reset: Any, rule: LifRule, zero: Any) -> Any:
    """TIR expression of the potential that the next step sees; ``zero`` has u's lanes.

    ``u``: the potential that fires or not; ``v``: the potential of the step before.
    """
    if rule.delayed or rule.reset == "none":
        return u
    if rule.reset == "settle":
        # the difference of the two is exact, so what is subtracted is rounded once, as in snnTorch
        spike, before = (T.Select(fires(p, threshold, rule), threshold, zero) for p in (u, v))
        return u - (spike - before)
    if rule.reset == "zero":
        return T.Select(fires(u, threshold, rule), reset, u)
    return u - T.Select(fires(u, threshold, rule), threshold, zero)


def _naive(attrs: Attrs, operands: Sequence[TensorType]) -> Any:
    """Three nested loops, one scalar step at a time."""
    rule, zero = rule_of(attrs), T.float32(0)
    (batch, steps, channels), gated = operands[0].shape, len(operands) == 4
    with tir.kernel("lif", operands, _results(attrs, operands)) as k:
        x, params, state_in = k.buffers[:3]
        valid = k.buffers[3] if gated else None
        spikes, state = k.buffers[len(operands) : len(operands) + 2]
        record, membrane = attrs.get("record"), k.buffers[-1]
        u, z = tir.scratch([1], "float32"), tir.scratch([1], "float32")
        with T.serial(0, batch) as b, T.serial(0, channels) as c:
            scale, shift, decay, threshold, reset, synapse = (params[i, c] for i in range(6))
            with T.serial(0, rule.states) as i:
                tir.store(state, [b, i, c], state_in[b, i, c])
            with T.serial(0, steps) as t:

                def step(b: Any = b, c: Any = c, t: Any = t) -> None:
                    tir.store(z, [0], x[b, t, c] * scale + shift)
                    if rule.synaptic:
                        tir.store(state, [b, 1, c], synapse * state[b, 1, c] + z[0])
                        tir.store(z, [0], state[b, 1, c])
                    tir.store(u, [0], charged(state[b, 0, c], z[0], decay, threshold, rule, zero))
                    tir.store(
                        spikes, [b, t, c], T.cast(fires(u[0], threshold, rule), attrs["dtype"])
                    )
                    v = state[b, 0, c]
                    if record == "before":
                        tir.store(membrane, [b, t, c], u[0])
                    tir.store(state, [b, 0, c], after_reset(u[0], v, threshold, reset, rule, zero))
                    if record == "after":
                        tir.store(membrane, [b, t, c], state[b, 0, c])

                if valid is None:
                    step()
                else:
                    with T.If(valid[t] != 0):
                        with T.Then():
                            step()
                        with T.Else():
                            tir.store(spikes, [b, t, c], T.cast(0, attrs["dtype"]))
                            if record:
                                tir.store(membrane, [b, t, c], state[b, 0, c])
    return k.func


def _counts(attrs: Attrs, operands: Sequence[TensorType]) -> OpCounts:
    # affine: 1 multiply, 1 add; charge: 1 multiply, 1-2 adds; synapse: 1 and 1
    rule, neurons = rule_of(attrs), operands[0].size
    synapse = int(rule.synaptic)
    charge_adds = 2 if rule.charge == "blend" else 1
    return OpCounts(multiplies=neurons * (2 + synapse), adds=neurons * (1 + charge_adds + synapse))


LIF = register(VocabularyOp("lif", (*RULE_NAMES, "dtype"), _results, _naive, _counts, tap="spikes"))
LIF_RECORD = register(
    VocabularyOp(
        "lif_record", (*RULE_NAMES, "dtype", "record"), _results, _naive, _counts, tap="spikes"
    )
)
