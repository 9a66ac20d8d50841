"""Planes of one head turned for attention: keys by word, values by token.

Keys: the same word of neighbouring keys lies in neighbouring lanes. Values: for every dimension the
bits of 32 tokens make a word, neighbouring dimensions in neighbouring lanes; a token's bit is moved
to the top of the word and shifts down as the next ones arrive, three instructions for a vector.
"""

from __future__ import annotations

from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.binary.planes import NEGATIVE, NONZERO, Planes
from millijoule.targets.kernels.binary.words import BITS, TOP, word, words_of

PLANES = (NEGATIVE, NONZERO)


def turn_keys(
    keys: Planes, out: Any, chunk: Any, first_row: Any, first_word: Any, steps: Any, padded: Any
) -> None:
    """``out[chunk, plane, word, token]`` of one head; ``padded`` tokens, those behind are zero.

    ``steps`` and ``padded`` are numbers, or expressions where they vary.
    """
    words = int(out.shape[2])
    for plane in PLANES:
        with T.serial(0, words) as w:
            with T.serial(0, steps) as j:
                tir.store(out, [chunk, plane, w, j], keys.get(first_row + j, plane, first_word + w))
            if not isinstance(steps, int) or padded > steps:
                with T.serial(0, padded - steps) as j:
                    tir.store(out, [chunk, plane, w, steps + j], word(0))


def turn_values(
    values: Planes, out: Any, chunk: Any, first_row: Any, first_word: Any, steps: Any, lanes: int
) -> None:
    """``out[chunk, plane, tokens // 32, dimension]`` of one head."""
    dimensions = int(out.shape[3])

    def tokens(start: Any, count: Any) -> None:
        with T.serial(0, dimensions // lanes) as i:
            first = i * lanes
            for plane in PLANES:
                acc = T.alloc_buffer((lanes,), "uint32")
                at = simd.lanes_at(0, lanes)
                T.buffer_store(acc, word(0, lanes), [at])
                with T.serial(0, count) as t:
                    row = first_row + start + t
                    bits = values.get(row, plane, first_word + first // BITS, lanes)
                    up = _descending(BITS - 1 - first % BITS, lanes)
                    bit = (bits << up) & word(TOP, lanes)
                    T.buffer_store(acc, (acc[at] >> word(1, lanes)) | bit, [at])
                bits = acc[at]
                if not isinstance(count, int):
                    bits = bits >> simd.splat(T.cast(BITS - count, "uint32"), lanes)
                elif count < BITS:
                    bits = bits >> word(BITS - count, lanes)
                simd.save(out, [chunk, plane, start // BITS], first, lanes, bits)

    if isinstance(steps, int):
        simd.for_blocks(steps, BITS, tokens)
        return
    with T.serial(0, words_of(steps)) as i:
        tokens(i * BITS, T.min(steps - i * BITS, T.int64(BITS)))


def _descending(first: Any, lanes: int) -> Any:
    """first, first − 1, … as uint32, which TVM will not fold itself: it must not be negative."""
    descending = first if lanes == 1 else T.ramp(first, -1, lanes)
    return T.reinterpret(simd.vector_type("uint32", lanes), descending)
