"""Scheduled ``binary_embedding``: rows of bits become rows of ±scale.

A bit is moved to the sign of the scale, three instructions for a vector; a table with zeros keeps
two planes and takes their mean, which is exact. Floor: the row of floats that is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.converters.ops.binary_embedding import BINARY_EMBEDDING
from millijoule.converters.ops.binary_embedding.op import clamped
from millijoule.converters.ops.vocabulary import Attrs
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.binary.embedding.gpu import emit_embedding
from millijoule.targets.kernels.binary.planes import row_index
from millijoule.targets.kernels.binary.words import (
    BITS,
    TERNARY,
    flip_signs,
    has_zero,
    sign_planes,
    words_of,
)
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.target import Isa

__all__ = ["binary_embedding"]


def binary_embedding(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """Form for every vector unit; the table is packed to uint32 [V, P·words]."""
    ids_type, table, scale_type = operands
    (rows, width), ternary = table.shape, attrs.get(TERNARY, True)
    words = words_of(width)
    packed = TensorType((rows, words * (2 if ternary else 1)), "uint32")
    results = BINARY_EMBEDDING.results(attrs, operands)
    with tir.kernel(f"binary_embedding_{isa.name}", [ids_type, packed, scale_type], results) as k:
        if isa.gpu:
            emit_embedding(k.buffers, ids_type, rows, width, ternary)
        else:
            _emit_rows(k.buffers, ids_type, rows, width, ternary, isa)
    return KernelForm(k.func, packed={1: lambda value: _pack(value, ternary)})


def _emit_rows(
    buffers: Sequence[Any], ids_type: TensorType, rows: int, width: int, ternary: bool, isa: Isa
) -> None:
    ids, w, scale, y = buffers
    row, words = tir.scratch([1], "int32"), words_of(width)
    with T.serial(0, ids_type.size) as i:
        at = row_index(i, ids_type.shape)
        tir.store(row, [0], clamped(ids[tuple(at)] if at else ids[()], rows, ids_type.dtype))

        def word(start: Any, count: int) -> None:
            for offset, lanes in simd.vectors(count, isa.lanes):
                size = simd.splat(scale[row[0]], lanes)
                value, second = (
                    flip_signs(size, w[row[0], plane + start // BITS], offset, lanes)
                    for plane in (0, words if ternary else 0)
                )
                if ternary:
                    value = (value + second) * simd.splat(T.float32(0.5), lanes)
                simd.save(y, at, start + offset, lanes, value)

        simd.for_blocks(width, BITS, word)


def _pack(w: np.ndarray, ternary: bool) -> np.ndarray:
    planes = sign_planes(w)
    return np.tile(planes, 2) if ternary and not has_zero(w) else planes
