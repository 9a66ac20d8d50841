"""Relax form of ``rescale``: naive TIR and operation counts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.converters.ops.lif_fixed.op import scaled
from millijoule.converters.ops.vocabulary import Attrs, OpCounts, TensorType, VocabularyOp, register


def _results(attrs: Attrs, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
    return (operands[0],)


def _naive(attrs: Attrs, operands: Sequence[TensorType]) -> Any:
    """One element at a time."""
    with tir.kernel("rescale", operands, _results(attrs, operands)) as k, ExitStack() as loops:
        x, multiplier, offset, y = k.buffers
        index = [loops.enter_context(T.serial(0, extent)) for extent in operands[0].shape]
        c, right = index[-1], T.int32(attrs["right"])
        tir.store(y, index, scaled(x[tuple(index)], multiplier[c], right) + offset[c])
    return k.func


def _counts(attrs: Attrs, operands: Sequence[TensorType]) -> OpCounts:
    return OpCounts(multiplies=operands[0].size, adds=operands[0].size)


RESCALE = register(VocabularyOp("rescale", ("right",), _results, _naive, _counts))
