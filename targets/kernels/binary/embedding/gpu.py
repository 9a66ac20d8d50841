"""``binary_embedding`` on a GPU: a thread writes one element, its sign out of a word of the table.

Floor: 4 bytes written per element over the bandwidth of memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.converters.ops.binary_embedding.op import clamped
from millijoule.targets.kernels.binary.planes import row_index
from millijoule.targets.kernels.binary.words import BITS, TOP, with_signs, word, words_of
from millijoule.targets.kernels.threads import Registers, ceil_div, launch, when

THREADS = 128


def emit_embedding(
    buffers: Sequence[Any], ids_type: TensorType, rows: int, width: int, ternary: bool
) -> None:
    """One launch over (ids, packed table, scale, y)."""
    ids, table, scale, y = buffers
    with launch([ids_type.size, ceil_div(width, THREADS)], [THREADS]) as ((n, bx), (tx,)):
        i, row = bx * THREADS + tx, Registers(1, "int32")
        at = row_index(n, ids_type.shape)
        row[0] = clamped(ids[tuple(at)] if at else ids[()], rows, ids_type.dtype)
        with when(i < width if width % THREADS else True):

            def signed(plane: int) -> Any:
                bits = table[row[0], plane * words_of(width) + i // BITS]
                sign = (bits << T.cast(BITS - 1 - i % BITS, "uint32")) & word(TOP)
                return with_signs(scale[row[0]], sign, 1)

            value = signed(0)
            if ternary:
                value = (value + signed(1)) * T.float32(0.5)
            tir.store(y, [*at, i], value)
