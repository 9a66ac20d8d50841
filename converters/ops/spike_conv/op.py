"""Relax form of ``spike_conv``: naive TIR and operation counts."""

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
    (batch, steps, _), (taps, _, outputs) = operands[0].shape, operands[1].shape
    shape = batch, steps + 2 * attrs["padding"] - taps + 1, outputs
    return (TensorType(shape, accumulator(operands[1].dtype)),)


def _naive(attrs: Attrs, operands: Sequence[TensorType]) -> Any:
    (batch, steps, channels), (taps, _, outputs) = operands[0].shape, operands[1].shape
    (result,) = _results(attrs, operands)
    with tir.kernel("spike_conv", operands, [result]) as k:
        s, w, y = k.buffers
        with T.serial(0, batch) as b, T.serial(0, result.shape[1]) as t, T.serial(0, outputs) as o:
            tir.store(y, [b, t, o], T.cast(0, result.dtype))
            with T.serial(0, taps) as tap:
                source = t + tap - attrs["padding"]
                with T.If(T.And(source >= 0, source < steps)), T.Then(), T.serial(0, channels) as c:
                    count = T.cast(s[b, source, c], result.dtype)
                    weight = T.cast(w[tap, c, o], result.dtype)
                    tir.store(y, [b, t, o], y[b, t, o] + count * weight)
    return k.func


def _counts(attrs: Attrs, operands: Sequence[TensorType]) -> OpCounts:
    """Padding steps are counted as if computed, as every operation count of a convolution is."""
    taps, channels, outputs = operands[1].shape
    batch, steps, _ = _results(attrs, operands)[0].shape
    dense = batch * steps * taps * channels * outputs
    # each spike meets every tap once, but for the few that the border cuts off
    reads = batch * operands[0].shape[1] * channels
    return OpCounts(
        multiplies=0 if attrs["binary"] else dense,
        adds=dense,
        spike_operand=0,
        adds_per_spike=dense / reads,
    )


SPIKE_CONV = register(VocabularyOp("spike_conv", ("padding", "binary"), _results, _naive, _counts))
