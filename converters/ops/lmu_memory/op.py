"""Relax forms of ``lmu_memory`` and ``lmu_step``: naive TIR and operation counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.converters.ops.vocabulary import Attrs, OpCounts, TensorType, VocabularyOp, register


def _memory_results(attrs: Attrs, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
    u, impulse = operands
    return (TensorType((*u.shape, impulse.shape[1]), impulse.dtype),)


def _memory_naive(attrs: Attrs, operands: Sequence[TensorType]) -> Any:
    (batch, steps), (_, order) = operands[0].shape, operands[1].shape
    with tir.kernel("lmu_memory", operands, _memory_results(attrs, operands)) as k:
        u, impulse, m = k.buffers
        with T.serial(0, batch) as b, T.serial(0, steps) as t, T.serial(0, order) as i:
            tir.store(m, [b, t, i], T.float32(0))
            with T.serial(0, t + 1) as s:
                term = T.cast(u[b, s], "float32") * impulse[t - s, i]
                tir.store(m, [b, t, i], m[b, t, i] + term)
    return k.func


def _memory_counts(attrs: Attrs, operands: Sequence[TensorType]) -> OpCounts:
    u, impulse = operands
    batch, steps = u.shape
    terms = batch * impulse.shape[1] * steps * (steps + 1) // 2
    if u.dtype != "uint8":
        return OpCounts(multiplies=terms, adds=terms)
    # a spike at step s is added to the N−s steps from s on: (N+1)/2 on average
    return OpCounts(adds=terms, spike_operand=0, adds_per_spike=impulse.shape[1] * (steps + 1) / 2)


LMU_MEMORY = register(
    VocabularyOp("lmu_memory", (), _memory_results, _memory_naive, _memory_counts, tap="memory")
)


def _step_results(attrs: Attrs, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
    history, m, t = operands[4:7]
    batch, order = m.shape
    return TensorType((batch, 1, order), m.dtype), history, m, t


def _step_naive(attrs: Attrs, operands: Sequence[TensorType]) -> Any:
    (length, order), batch = operands[1].shape, operands[0].shape[0]
    with tir.kernel("lmu_step", operands, _step_results(attrs, operands)) as k:
        u, impulse, a_t, b_in, history_in, m_in, t_in, valid, m_out, history, m, t = k.buffers
        now = t_in[0]
        runs = valid[0] != 0
        tir.store(t, [0], now + T.Select(runs, 1, 0))
        with T.serial(0, batch) as b:
            with T.serial(0, length) as s:
                newest = T.And(runs, s == now)
                tir.store(history, [b, s], T.Select(newest, u[b, 0], history_in[b, s]))
            with T.serial(0, order) as i:
                with T.If(runs):
                    with T.Then():
                        tir.store(m, [b, i], T.float32(0))
                        with T.If(now < length):
                            with T.Then(), T.serial(0, now + 1) as s:
                                term = T.cast(history[b, s], "float32") * impulse[now - s, i]
                                tir.store(m, [b, i], m[b, i] + term)
                            with T.Else():
                                with T.serial(0, order) as j:
                                    tir.store(m, [b, i], m[b, i] + m_in[b, j] * a_t[j, i])
                                drive = T.cast(u[b, 0], "float32") * b_in[i]
                                tir.store(m, [b, i], m[b, i] + drive)
                    with T.Else():
                        tir.store(m, [b, i], m_in[b, i])
                tir.store(m_out, [b, 0, i], m[b, i])
    return k.func


def _step_counts(attrs: Attrs, operands: Sequence[TensorType]) -> OpCounts:
    """The finite form halfway through its length, (L+1)/2 terms, as the average over a sequence."""
    u, impulse = operands[:2]
    length, order = impulse.shape
    terms = u.shape[0] * order * (length + 1) // 2
    if u.dtype != "uint8":
        return OpCounts(multiplies=terms, adds=terms)
    return OpCounts(adds=terms, spike_operand=0, adds_per_spike=order * (length + 1) / 2)


LMU_STEP = register(
    VocabularyOp("lmu_step", (), _step_results, _step_naive, _step_counts, tap="memory")
)
