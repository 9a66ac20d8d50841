"""Relax form of ``spike_linear``: naive TIR and operation counts."""

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


def _results(attrs: Attrs, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
    s, w, _ = operands
    return (TensorType((*s.shape[:-1], w.shape[1]), accumulator(w.dtype)),)


def _naive(attrs: Attrs, operands: Sequence[TensorType]) -> Any:
    (batch, steps, inputs), (_, outputs) = operands[0].shape, operands[1].shape
    (result,) = _results(attrs, operands)
    with tir.kernel("spike_linear", operands, [result]) as k:
        s, w, bias, y = k.buffers
        with T.serial(0, batch) as b, T.serial(0, steps) as t, T.serial(0, outputs) as o:
            tir.store(y, [b, t, o], bias[o])
            with T.serial(0, inputs) as i:
                term = T.cast(s[b, t, i], result.dtype) * T.cast(w[i, o], result.dtype)
                tir.store(y, [b, t, o], y[b, t, o] + term)
    return k.func


def _counts(attrs: Attrs, operands: Sequence[TensorType]) -> OpCounts:
    s, w, _ = operands
    outputs = w.shape[1]
    return OpCounts(
        multiplies=0 if attrs["binary"] else s.size * outputs,
        adds=s.size * outputs,
        spike_operand=0,
        adds_per_spike=outputs,
    )


SPIKE_LINEAR = register(VocabularyOp("spike_linear", ("binary",), _results, _naive, _counts))
