"""Relax form of ``lif_fixed``: naive TIR and operation counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.converters.ops.lif.op import (
    LIF,
    RULE_NAMES,
    after_reset,
    fires,
    reset_before,
    rule_of,
)
from millijoule.converters.ops.lif.rule import LifRule
from millijoule.converters.ops.vocabulary import Attrs, TensorType, VocabularyOp, register

UNIT_BITS = 15  # of decay and synapse
ROWS = ("multiplier", "right", "shift", "decay", "threshold", "reset", "synapse")


def scaled(value: Any, factor: Any, right: Any = UNIT_BITS) -> Any:
    """``value·factor / 2**right`` rounded to nearest: int32 of an int64 product."""
    half = T.shift_left(T.int64(1), T.cast(right - 1, "int64"))
    product = T.cast(value, "int64") * T.cast(factor, "int64") + half
    return T.cast(T.shift_right(product, T.cast(right, "int64")), "int32")


def _charged(v: Any, z: Any, decay: Any, rule: LifRule) -> Any:
    return v + scaled(z - v, decay) if rule.charge == "blend" else scaled(v, decay) + z


def _naive(attrs: Attrs, operands: Sequence[TensorType]) -> Any:
    """Three nested loops, one scalar step at a time."""
    rule, zero = rule_of(attrs), T.int32(0)
    (batch, steps, channels), gated = operands[0].shape, len(operands) == 4
    with tir.kernel("lif_fixed", operands, LIF.results(attrs, operands)) as k:
        x, params, state_in = k.buffers[:3]
        spikes, state = k.buffers[-2:]
        u, z = tir.scratch([1], "int32"), tir.scratch([1], "int32")
        with T.serial(0, batch) as b, T.serial(0, channels) as c:
            multiplier, right, shift, decay, threshold, reset, synapse = (
                params[i, c] for i in range(len(ROWS))
            )
            with T.serial(0, rule.states) as i:
                tir.store(state, [b, i, c], state_in[b, i, c])
            with T.serial(0, steps) as t:

                def step(b: Any = b, c: Any = c, t: Any = t) -> None:
                    tir.store(z, [0], scaled(x[b, t, c], multiplier, right) + shift)
                    if rule.synaptic:
                        current = scaled(state[b, 1, c], synapse) + z[0]
                        tir.store(state, [b, 1, c], current)
                        tir.store(z, [0], state[b, 1, c])
                    v = state[b, 0, c]
                    tir.store(u, [0], _charged(v, z[0], decay, rule))
                    tir.store(u, [0], reset_before(u[0], v, threshold, rule, zero))
                    spike = T.cast(fires(u[0], threshold, rule), attrs["dtype"])
                    tir.store(spikes, [b, t, c], spike)
                    tir.store(state, [b, 0, c], after_reset(u[0], v, threshold, reset, rule, zero))

                if gated:
                    with T.If(k.buffers[3][t] != 0):
                        with T.Then():
                            step()
                        with T.Else():
                            tir.store(spikes, [b, t, c], T.cast(0, attrs["dtype"]))
                else:
                    step()
    return k.func


LIF_FIXED = register(
    VocabularyOp("lif_fixed", (*RULE_NAMES, "dtype"), LIF.results, _naive, LIF.counts, tap="spikes")
)
