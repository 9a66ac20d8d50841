"""GEMM of bits: signs of activations × signs of weights, counted instead of multiplied.

    Σ a·w   = pop(nonzero_r) − f · Σ_words pop((negative_r ^ negative_o) & nonzero_r)
    y[r, o] = epilogue( scale[o] · Σ a·w + bias[o] )

Lanes are outputs: a vector holds the same word of neighbouring outputs, a word of x is broadcast.
A tile of MR rows × NR outputs stays in registers; row tiles are the outer loop. With columns
outside, the time is the same up to 3,072 outputs, and 8 % more at 4,096, where rows of results lie
in the same sets of the cache.

Floor: rows · outputs · words over the lanes, times the instructions of `counters` and one
exclusive-or; bytes of the weights, 1 bit each, for a single row. 128×768×768 on Zen 5 (AVX-512 with
VPOPCNTDQ) has 147,456 vectors: the three instructions of each are what the inner loop consists of,
beside a register copy for three of four and three loads for four, and it takes 1.0 to 1.1 cycles
for each: 43 µs. One vpopcntd a cycle would explain that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.binary.linear.bits_gpu import COLUMNS
from millijoule.targets.kernels.binary.linear.counters import Counter, count_words, counter_of
from millijoule.targets.kernels.binary.planes import NEGATIVE, NONZERO, Planes
from millijoule.targets.kernels.binary.words import popcount, sign_planes
from millijoule.targets.target import Isa


@dataclass(frozen=True)
class BitTile:
    """MR rows × NR outputs; ``fast``: tiles without a zero leave the mask out."""

    rows: int
    columns: int
    fast: bool


def bit_tile(rows: int, outputs: int, isa: Isa) -> BitTile:
    """The tile that fills the registers of ``isa``; a multiple of 32 outputs where bits can leave.

    AVX-512 masks for free (``vpternlogd``), so it has no fast form.
    """
    shapes = {
        "avx512": (4, 64) if isa.popcount else (2, 32),
        "avx2": (2, 32),
        "sse2": (1, 32),
        "neon": (2, 32) if isa.registers >= 32 else (1, 32),
        "mve": (1, 8),
    }
    if isa.gpu:
        return BitTile(min(rows, 32), COLUMNS, fast=False)
    most, columns = shapes.get(isa.name, (1, 2))
    width = -(-min(columns, outputs) // isa.lanes) * isa.lanes
    return BitTile(min(most, rows), width, fast=isa.name != "avx512")


def pack_bit_weights(w: np.ndarray, columns: int) -> np.ndarray:
    """int8 [O, K] → uint32 [⌈O/NR⌉, P·words, NR], zero-padded."""
    planes = sign_planes(w)
    outputs, words = planes.shape
    blocks = -(-outputs // columns)
    padded = np.zeros((blocks * columns, words), planes.dtype)
    padded[:outputs] = planes
    return np.ascontiguousarray(padded.reshape(blocks, columns, words).transpose(0, 2, 1))


# finish(row, column, values, isa): int32 sums of a block of one row, as (offset, lanes, sums)
Finish = Callable[[Any, Any, Sequence[tuple[int, int, Any]], Isa], None]


class BitGemm:
    """The loops of one product: ``w`` holds packed weights, ``planes`` the packed activations."""

    def __init__(self, planes: Planes, w: Any, inputs: int, outputs: int, tile: BitTile, isa: Isa):
        self._planes, self._w, self._isa, self._tile = planes, w, isa, tile
        self._inputs, self._outputs = inputs, outputs
        self._words = int(w.shape[1])
        self._factor = 2 if self._words == planes.words else 1

    def rows(self, first: Any, count: int, finish: Finish) -> None:
        """``count`` rows from ``first`` against all outputs."""
        nonzero = T.alloc_buffer((count,), "int32")
        for r in range(count):
            tir.store(nonzero, [r], T.int32(0))
            with T.serial(0, self._planes.words) as i:
                bits = self._planes.get(first + r, NONZERO, i)
                tir.store(nonzero, [r], nonzero[r] + popcount(bits, 1))
        width = self._tile.columns
        blocks, tail = divmod(self._outputs, width)
        if blocks:
            with T.serial(0, blocks) as block:
                self._block(first, count, block, block * width, width, nonzero, finish)
        if tail:
            self._block(first, count, blocks, blocks * width, tail, nonzero, finish)

    def _block(
        self,
        first: Any,
        count: int,
        block: Any,
        start: Any,
        width: int,
        nonzero: Any,
        finish: Finish,
    ) -> None:
        lanes = self._isa.lanes
        counter = counter_of(self._isa)(count, simd.padded(width, lanes), lanes)

        def mismatches(masked: bool) -> None:
            def bits(row: int, vector: tuple[int, int], index: Any) -> Any:
                word = index if self._factor == 2 else index % self._planes.words
                weights = simd.load(self._w, [block, index], vector[0], vector[1])
                x = self._planes.get(first + row, NEGATIVE, word, vector[1])
                mask = self._planes.get(first + row, NONZERO, word, vector[1])
                return (weights ^ x) & mask if masked else weights ^ x

            count_words(counter, bits, self._words)

        if self._tile.fast:
            dense = nonzero[0] == self._inputs
            for r in range(1, count):
                dense = T.And(dense, nonzero[r] == self._inputs)
            with T.If(dense):
                with T.Then():
                    mismatches(masked=False)
                with T.Else():
                    mismatches(masked=True)
        else:
            mismatches(masked=True)
        for row in range(count):
            sums = self._sums(counter, row, width, nonzero[row])
            finish(first + row, start, sums, self._isa)

    def _sums(
        self, counter: Counter, row: int, width: int, nonzero: Any
    ) -> list[tuple[int, int, Any]]:
        """(offset, lanes, Σ a·w) of one row; the last vector may be short."""
        found = []
        for offset, size in counter.total.vectors:
            mismatches = counter.total.get(row, (offset, size))
            factor = simd.splat(T.int32(self._factor), size)
            sums = simd.splat(nonzero, size) - mismatches * factor
            lanes = min(size, width - offset)
            if lanes < size:
                sums = T.Shuffle([sums], list(range(lanes)))
            found.append((offset, lanes, sums))
        return found


__all__ = ["BitGemm", "BitTile", "Finish", "bit_tile", "pack_bit_weights"]
