"""Rows of int8 weights for cores with DSP instructions: four columns to a word, blocks of 16.

A block lies together, [blocks, K, words], so that one address serves all its words of one row, and
double loads are aligned. One word in front keeps every offset from that address above zero: LLVM
would compute the address twice, for a register-offset load of the first word and for the others.

SXTAB16 adds bytes 0 and 2 of a word to the two halves of a register, and
with the word turned by 8 bits bytes 1 and 3 to those of another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir

FRONT = 1  # words before the first block
COLUMNS = 16  # of a block: eight registers of sums; four are left for addresses and weights


def pack_words(w: np.ndarray) -> np.ndarray:
    """int8 [..., O] → int32 words, the leading axes as one; the last block may be narrower.

    ``w`` of another type raises ValueError.
    """
    if w.dtype != np.int8:
        raise ValueError(f"weights must be int8, but are {w.dtype}")
    rows, outputs = w.reshape(-1, w.shape[-1]), w.shape[-1]
    padded = np.zeros((len(rows), -(-outputs // 4) * 4), np.int8)
    padded[:, :outputs] = rows
    blocks = [padded[:, c : c + COLUMNS].reshape(-1) for c in range(0, padded.shape[1], COLUMNS)]
    front = np.zeros(4 * FRONT, np.int8)
    return np.concatenate([front, *blocks]).view("<i4").astype(np.int32)


def packed_type(w: TensorType) -> TensorType:
    """Type of the packed form of ``w``."""
    outputs = w.shape[-1]
    return TensorType((FRONT + w.size // outputs * -(-outputs // 4),), "int32")


class WordRows:
    """Packed weights of ``rows`` inputs as a kernel sees them."""

    def __init__(self, buffer: Any, rows: int) -> None:
        self._buffer, self._rows = buffer, rows

    def load(self, index: Any, start: Any, width: int, i: int) -> Any:
        """Word ``i`` of row ``index`` in the block of ``width`` columns from ``start``."""
        words = -(-width // 4)
        return self._buffer[FRONT + start // 4 * self._rows + index * words + i]


class PairSums:
    """16-bit sums of one block, two to a register."""

    def __init__(self, width: int) -> None:
        self._words = -(-width // 4)
        self._even = [T.alloc_buffer((1,), "int32") for _ in range(self._words)]
        self._odd = [T.alloc_buffer((1,), "int32") for _ in range(self._words)]
        for register in (*self._even, *self._odd):
            tir.store(register, [0], T.int32(0))

    def add(self, rows: WordRows, index: Any, start: Any, width: int) -> None:
        """Add row ``index``."""
        for i, (even, odd) in enumerate(zip(self._even, self._odd, strict=True)):
            word = rows.load(index, start, width, i)
            turned = T.call_llvm_pure_intrin("int32", "llvm.fshr.i32", word, word, T.int32(8))
            tir.store(even, [0], _sxtab16(even[0], word))
            tir.store(odd, [0], _sxtab16(odd[0], turned))

    def get(self, column: int) -> Any:
        """int32 sum of one column of the block."""
        word, at = divmod(column, 4)
        pair = (self._odd if at % 2 else self._even)[word][0]
        if at >= 2:
            return T.shift_right(pair, T.int32(16))
        return T.shift_right(T.shift_left(pair, T.int32(16)), T.int32(16))


def _sxtab16(sums: Any, word: Any) -> Any:
    return T.call_llvm_pure_intrin("int32", "llvm.arm.sxtab16", sums, word)
