"""Relax forms of ``lmu_memory``, ``lmu_step`` and ``lmu_step_fixed``: naive TIR and counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.converters.ops.vocabulary import (
    Attrs,
    OpCounts,
    TensorType,
    VocabularyOp,
    accumulator,
    register,
)

MEMORY_BITS = 8  # fraction bits of an integer memory below one unit of its impulse response


def _memory_results(attrs: Attrs, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
    u, impulse = operands
    return (TensorType((*u.shape, impulse.shape[1]), accumulator(impulse.dtype)),)


def _memory_naive(attrs: Attrs, operands: Sequence[TensorType]) -> Any:
    (batch, steps), (_, order) = operands[0].shape, operands[1].shape
    (result,) = _memory_results(attrs, operands)
    with tir.kernel("lmu_memory", operands, [result]) as k:
        u, impulse, m = k.buffers
        with T.serial(0, batch) as b, T.serial(0, steps) as t, T.serial(0, order) as i:
            tir.store(m, [b, t, i], T.cast(0, result.dtype))
            with T.serial(0, t + 1) as s:
                term = T.cast(u[b, s], result.dtype) * T.cast(impulse[t - s, i], result.dtype)
                tir.store(m, [b, t, i], m[b, t, i] + term)
            if result.dtype == "int32":
                tir.store(m, [b, t, i], T.shift_left(m[b, t, i], T.int32(MEMORY_BITS)))
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
    history, m, t = operands[-4:-1]
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


def _step_fixed_naive(attrs: Attrs, operands: Sequence[TensorType]) -> Any:
    (length, order), batch = operands[1].shape, operands[0].shape[0]
    with tir.kernel("lmu_step_fixed", operands, _step_results(attrs, operands)) as k:
        u, impulse, a_t, right, b_in, history_in, m_in, t_in, valid = k.buffers[:9]
        m_out, history, m, t = k.buffers[9:]
        total = tir.scratch([1], "int64")
        now = t_in[0]
        runs = valid[0] != 0
        tir.store(t, [0], now + T.Select(runs, 1, 0))
        with T.serial(0, batch) as b:
            with T.serial(0, length) as s:
                newest = T.And(runs, s == now)
                tir.store(history, [b, s], T.Select(newest, u[b, 0], history_in[b, s]))
            with T.serial(0, order) as i:
                tir.store(m, [b, i], m_in[b, i])
                with T.If(T.And(runs, now < length)), T.Then():
                    tir.store(m, [b, i], T.int32(0))
                    with T.serial(0, now + 1) as s:
                        row = T.cast(history[b, s], "int32") * T.cast(impulse[now - s, i], "int32")
                        tir.store(m, [b, i], m[b, i] + row)
                    tir.store(m, [b, i], T.shift_left(m[b, i], T.int32(MEMORY_BITS)))
                with T.If(T.And(runs, now >= length)), T.Then():
                    shift = T.cast(right[i], "int64")
                    tir.store(total, [0], T.shift_left(T.int64(1), shift - T.int64(1)))
                    with T.serial(0, order) as j:
                        term = T.cast(a_t[j, i], "int64") * T.cast(m_in[b, j], "int64")
                        tir.store(total, [0], total[0] + term)
                    carried = T.cast(T.shift_right(total[0], shift), "int32")
                    tir.store(m, [b, i], carried + T.cast(u[b, 0], "int32") * b_in[i])
                tir.store(m_out, [b, 0, i], m[b, i])
    return k.func


LMU_STEP = register(
    VocabularyOp("lmu_step", (), _step_results, _step_naive, _step_counts, tap="memory")
)
LMU_STEP_FIXED = register(
    VocabularyOp("lmu_step_fixed", (), _step_results, _step_fixed_naive, _step_counts, tap="memory")
)
