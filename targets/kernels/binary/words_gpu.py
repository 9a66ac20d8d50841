"""Packing signs into planes on a GPU: a thread makes a word out of 32 floats.

The floats come through shared memory, so that neighbouring threads read neighbouring floats; its
rows are 33 long, so that threads which read down a column find it in different banks.

Floor: 4 bytes of every float over the bandwidth of memory (204.8 GB/s on Orin).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels.binary.words import BITS, words_of
from millijoule.targets.kernels.threads import Registers, Shared, barrier, ceil_div, launch, when

WORDS = 64  # of a block, one per thread
_NEGATIVE, _NONZERO = 0, 1  # as in `planes`


def pack_on_gpu(
    value: Callable[[Any, Any], Any],
    put: Callable[[Any, int, Any, Any], None],
    rows: int,
    inputs: int,
    group: int,
) -> None:
    """One launch that packs ``value(row, input)`` by ``put(row, plane, index, word)``.

    Every ``group`` inputs start a new word.
    """
    per_group = words_of(group)
    per_row = inputs // group * per_group
    total = rows * per_row
    with launch([ceil_div(total, WORDS)], [WORDS]) as ((block,), (me,)):
        tile = Shared((WORDS, BITS), "float32", pad=1)
        signs = [Registers(1, "uint32") for _ in range(2)]
        with T.serial(0, BITS) as part:
            element = part * WORDS + me
            word = block * WORDS + element // BITS
            bit = word % per_group * BITS + element % BITS
            row, i = word // per_row, word % per_row // per_group * group + bit
            inside = T.And(word < total, bit < group)
            # a plain load of an element that exists: the value may be an expression of several
            safe = value(T.min(row, rows - 1), T.min(i, inputs - 1))
            x = T.if_then_else(inside, safe, T.float32(0))
            tile[element // BITS, element % BITS] = x
        barrier()
        negative, positive = signs
        negative[0] = positive[0] = T.uint32(0)
        with T.serial(0, BITS) as bit:
            x, one = tile[me, bit], T.uint32(1) << T.cast(bit, "uint32")
            negative[0] = negative[0] | T.Select(x < T.float32(0), one, T.uint32(0))
            positive[0] = positive[0] | T.Select(x > T.float32(0), one, T.uint32(0))
        word = block * WORDS + me
        with when(word < total if total % WORDS else True):
            at = word // per_row, word % per_row
            put(at[0], _NEGATIVE, at[1], negative[0])
            # neither for 0 and for NaN, whose sign is 0, too
            put(at[0], _NONZERO, at[1], negative[0] | positive[0])
