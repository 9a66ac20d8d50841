"""Relax form of ``quantize``: naive TIR and operation counts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.converters.ops.vocabulary import Attrs, OpCounts, TensorType, VocabularyOp, register

LIMIT = 127.0


def reciprocal(attrs: Attrs) -> float:
    """1/scale as float32 holds it."""
    return float(np.float32(1.0 / attrs["scale"]))


def _results(attrs: Attrs, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
    return (TensorType(operands[0].shape, "int8"),)


def _naive(attrs: Attrs, operands: Sequence[TensorType]) -> Any:
    """One element at a time."""
    with tir.kernel("quantize", operands, _results(attrs, operands)) as k, ExitStack() as loops:
        x, y = k.buffers
        v = tir.scratch([1], "float32")
        index = [loops.enter_context(T.serial(0, extent)) for extent in operands[0].shape]
        product = x[tuple(index)] * T.float32(reciprocal(attrs))
        tir.store(v, [0], T.max(T.min(product, T.float32(LIMIT)), T.float32(-LIMIT)))
        half = T.Select(v[0] >= T.float32(0), T.float32(0.5), T.float32(-0.5))
        tir.store(y, index, T.cast(v[0] + half, "int8"))
    return k.func


def _counts(attrs: Attrs, operands: Sequence[TensorType]) -> OpCounts:
    return OpCounts(multiplies=operands[0].size, adds=operands[0].size)


QUANTIZE = register(VocabularyOp("quantize", ("scale",), _results, _naive, _counts))
