"""Planes of signs as buffers of a kernel, and packing a row of floats into them.

Floor of packing: the floats over the bandwidth of their cache; per vector two comparisons and, on
AVX-512, two moves of a mask.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm.script.ir_builder.tirx as T
from tvm import tirx

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.binary.words import (
    BITS,
    WORD,
    gather_word,
    pack_bits,
    words_of,
)
from millijoule.targets.kernels.binary.words_gpu import pack_on_gpu
from millijoule.targets.kernels.form import KernelForm, parallel_chunks
from millijoule.targets.target import Isa

NEGATIVE, NONZERO = 0, 1


def planes_type(rows: int, words: int) -> TensorType:
    """Both planes of ``rows`` rows side by side."""
    return TensorType((rows, 2, words), WORD)


def planes_of(x: np.ndarray, group: int | None = None) -> np.ndarray:
    """float32 [..., K] → uint32 [rows, 2, words]; every ``group`` elements start a new word."""
    inner = x.shape[-1]
    parts = x.reshape(-1, inner // (group or inner), group or inner)
    planes = [pack_bits(parts < 0), pack_bits(parts != 0)]
    return np.stack([p.reshape(len(parts), -1) for p in planes], axis=1)


class Planes:
    """A buffer of planes: loads words, or the same word in every lane."""

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer
        self.words = int(buffer.shape[2])

    def get(self, row: Any, plane: int, index: Any, lanes: int = 1) -> Any:
        """One word of a row, in every lane."""
        return simd.splat(self._buffer[row, plane, index], lanes)

    def plane(self, row: Any, plane: Any, index: Any) -> Any:
        """One word of a row; the plane may be calculated."""
        return self._buffer[row, plane, index]

    def put(self, row: Any, plane: int, index: Any, value: Any) -> None:
        """Store one word."""
        tir.store(self._buffer, [row, plane, index], value)

    def put_values(self, row: Any, index: Any, width: int, values: Any, isa: Isa) -> None:
        """Store the word of ``width`` ≤ 32 floats, which ``values((offset, lanes))`` gives."""
        vectors = _vectors(width, isa.lanes)

        def gather(compare: Callable[[Any, Any], Any]) -> Any:
            return gather_word(vectors, lambda v: compare(values(v), simd.zeros(v[1])), isa.lanes)

        negative, positive = gather(operator.lt), gather(operator.gt)
        self.put(row, NEGATIVE, index, negative)
        # neither for 0 and for NaN, whose sign is 0, too
        self.put(row, NONZERO, index, self.get(row, NEGATIVE, index) | positive)


def _vectors(width: int, lanes: int) -> list[tuple[int, int]]:
    """Whole vectors, then single elements."""
    whole = width // lanes * lanes
    return [*simd.vectors(whole, lanes), *((i, 1) for i in range(whole, width))]


def pack_row(x: Any, planes: Planes, row: Any, inputs: int, group: int, isa: Isa) -> None:
    """Pack one row: ``x(start, lanes)`` loads floats."""
    per_group = words_of(group)
    with T.serial(0, inputs // group) as g:

        def block(start: Any, width: int) -> None:
            index = g * per_group + start // BITS
            first = g * group + start
            planes.put_values(row, index, width, lambda v: x(first + v[0], v[1]), isa)

        simd.for_blocks(group, BITS, block)


def keep_above(value: Any, above: float, lanes: int) -> Any:
    """``value`` where it exceeds ``above``, else 0."""
    limit = simd.splat(T.float32(above), lanes)
    return T.Select(value > limit, value, simd.zeros(lanes))


def pack_planes(
    x_type: TensorType,
    isa: Isa,
    group: int | None = None,
    shift: TensorType | None = None,
    above: float | None = None,
) -> KernelForm:
    """Kernel (x float32 [..., K], [shift]) → planes [rows, 2, words] of the signs of x + shift.

    Every ``group`` elements start a new word; ``shift`` has K elements; values up to ``above``
    count as 0.
    """
    inputs = x_type.shape[-1]
    rows, group = x_type.size // inputs, group or inputs
    result = planes_type(rows, inputs // group * words_of(group))
    operands = [x_type] if shift is None else [x_type, shift]
    with tir.kernel(f"pack_planes_{isa.name}", operands, [result]) as k:
        x, planes = rows_of(k.buffers[0]), Planes(k.buffers[-1])

        def value(row: Any, i: Any, lanes: int) -> Any:
            found = x(row, i, lanes)
            if shift is not None:
                zero = [0] * (len(shift.shape) - 1)
                found = found + simd.load(k.buffers[1], zero, i, lanes)
            return found if above is None else keep_above(found, above, lanes)

        pack_rows(value, planes, rows, inputs, group, isa)
    return KernelForm(k.func)


def pack_rows(x: Any, planes: Planes, rows: int, inputs: int, group: int, isa: Isa) -> None:
    """Pack ``rows`` rows: ``x(row, start, lanes)`` loads floats."""
    if isa.gpu:
        pack_on_gpu(lambda row, i: x(row, i, 1), planes.put, rows, inputs, group)
        return
    parallel = parallel_chunks(rows, rows * inputs) > 1
    with (T.parallel if parallel else T.serial)(0, rows) as row:
        pack_row(lambda i, lanes: x(row, i, lanes), planes, row, inputs, group, isa)


def rows_of(buffer: Any) -> Any:
    """``load(row, column, lanes)`` of a row-major buffer seen as a matrix."""
    outer = [int(d) if isinstance(d, tirx.IntImm) else d for d in buffer.shape][:-1]

    def load(row: Any, column: Any, lanes: int) -> Any:
        return simd.load(buffer, row_index(row, outer), column, lanes)

    return load


def row_index(row: Any, outer: Sequence[int]) -> list[Any]:
    """The indices of flat row ``row`` in the dimensions ``outer``."""
    index: list[Any] = []
    for extent in reversed(outer[1:]):
        index.insert(0, row % extent)
        row = row // extent
    return [row, *index] if outer else []
