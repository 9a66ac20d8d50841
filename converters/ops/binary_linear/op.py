"""Relax form of ``binary_linear``: result type, naive TIR and operation counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.converters.ops.vocabulary import Attrs, OpCounts, TensorType, VocabularyOp, register

ACTIVATIONS = ("sign", "real")


def _results(attrs: Attrs, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
    x, w = operands[:2]
    return (TensorType((*x.shape[:-1], w.shape[0]), "float32"),)


def _naive(attrs: Attrs, operands: Sequence[TensorType]) -> Any:
    outputs, inputs = operands[1].shape
    real, per_row = attrs["activations"] == "real", operands[2].shape == (outputs,)
    with tir.kernel("binary_linear", operands, _results(attrs, operands)) as k:
        x, w, scale, bias, y = k.buffers
        total = tir.scratch([1], "float32" if real else "int32")
        with tir.loops(operands[0].shape[:-1]) as row, T.serial(0, outputs) as o:
            tir.store(total, [0], T.float32(0) if real else T.int32(0))
            with T.serial(0, inputs) as i:
                at = (*row, i)
                value = x[at]
                a = value if real else tir.sign(value)
                tir.store(total, [0], total[0] + a * T.cast(w[o, i], str(total.dtype)))
            product = T.cast(total[0], "float32") * scale[o if per_row else 0]
            tir.store(y, [*row, o], product + bias[o])
    return k.func


def _counts(attrs: Attrs, operands: Sequence[TensorType]) -> OpCounts:
    """Signs: one binary operation per product. Real activations are only added: no products."""
    x, w = operands[:2]
    outputs, inputs = w.shape
    rows = x.size // inputs
    terms, affine = rows * outputs * inputs, rows * outputs
    if attrs["activations"] == "real":
        return OpCounts(multiplies=affine, adds=terms + affine)
    return OpCounts(multiplies=affine, adds=affine, binary_ops=terms)


BINARY_LINEAR = register(VocabularyOp("binary_linear", ("activations",), _results, _naive, _counts))
