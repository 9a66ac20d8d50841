"""Relax form of ``binary_embedding``: result type, naive TIR and operation counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.converters.ops.vocabulary import Attrs, OpCounts, TensorType, VocabularyOp, register


def _results(attrs: Attrs, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
    ids, w, _ = operands
    return (TensorType((*ids.shape, w.shape[1]), "float32"),)


def clamped(index: Any, size: int, dtype: str) -> Any:
    """TIR expression of ``index`` (of type ``dtype``) moved into 0 … size−1."""
    low, high = (T.IntImm(dtype, bound) for bound in (0, size - 1))
    return T.cast(T.min(T.max(index, low), high), "int32")


def _naive(attrs: Attrs, operands: Sequence[TensorType]) -> Any:
    rows, width = operands[1].shape
    with tir.kernel("binary_embedding", operands, _results(attrs, operands)) as k:
        ids, w, scale, y = k.buffers
        row = tir.scratch([1], "int32")
        with tir.loops(operands[0].shape) as at:
            tir.store(row, [0], clamped(ids[tuple(at)], rows, operands[0].dtype))
            with T.serial(0, width) as i:
                tir.store(y, [*at, i], T.cast(w[row[0], i], "float32") * scale[row[0]])
    return k.func


def _counts(attrs: Attrs, operands: Sequence[TensorType]) -> OpCounts:
    return OpCounts(multiplies=operands[0].size * operands[1].shape[1])


BINARY_EMBEDDING = register(VocabularyOp("binary_embedding", (), _results, _naive, _counts))
