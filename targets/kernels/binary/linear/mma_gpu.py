"""GEMM of bits on tensor cores: ``mma.sync…m16n8k256…b1…and.popc``, compute capability 8.0 … 8.9.

With the planes of positive and negative inputs P and N and that of negative weights W,

    Σ a·w = pop(P) − pop(N) − f · (pop(P & W) − pop(N & W)),    f = 2, or 1 for two planes of
    weights

so that a tile of 16 rows, 8 outputs and 256 inputs takes two products per plane of weights,
whatever is zero among the inputs; products with a matrix of ones count P and N of the very rows
whose sums a thread holds. A block is 4 warps on 32 × 64 outputs; weights are packed as for
`bits_gpu`.

Floor: NVIDIA's data sheets give the tensor cores of Ampere 8 times the rate of int8 for one bit:
680 T products and sums per second on Orin (85 dense int8), against 21 T by counting. 128×768×768
needs 0.8 µs of them with both planes: the operands over the bandwidth of memory and the launch are
what is left. GPUs from 9.0 on have no such unit: the compiler writes the product out, and counting
is faster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels.binary.linear.bits_gpu import COLUMNS
from millijoule.targets.kernels.binary.linear.writer import ResultWriter
from millijoule.targets.kernels.binary.planes import NEGATIVE, NONZERO, Planes
from millijoule.targets.kernels.binary.words import words_of
from millijoule.targets.kernels.threads import (
    Registers,
    Shared,
    barrier,
    ceil_div,
    for_all,
    launch,
    when,
)
from millijoule.targets.target import Isa

ROWS = 32  # of a block
WORDS = 8  # 256 bits: k of one instruction
_LANES, _WARPS = 32, 4
_TILE_ROWS, _TILE_COLUMNS = 16, 8  # of one instruction
_ACROSS = COLUMNS // 2 // _TILE_COLUMNS  # instructions side by side in a warp
_POSITIVE = 1  # plane in shared memory; NEGATIVE is 0

# (sums int32[4 × number], number, four words of A, two of B): sums += A & B, counted, by a warp
Mma = Callable[[Registers, int, list[Any], list[Any]], None]

_SOURCE = """
__forceinline__ __device__ void mj_mma_b1_and(int* d, unsigned a0, unsigned a1, unsigned a2,
                                              unsigned a3, unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
"""


def native_mma(sums: Registers, number: int, a: list[Any], b: list[Any]) -> None:
    """The instruction. Fragments: PTX ISA, "Matrix fragments for mma.m16n8k256" (`fragment_a`)."""
    call = T.cuda.func_call("mj_mma_b1_and", sums.address(4 * number), *a, *b, source_code=_SOURCE)
    T.evaluate(call)


def fragment_a(lane: Any, register: int) -> tuple[Any, Any]:
    """(row, word) of A that a lane holds in a register."""
    return lane // 4 + _TILE_COLUMNS * (register % 2), lane % 4 + 4 * (register // 2)


def fragment_b(lane: Any, register: int) -> tuple[Any, Any]:
    """(word, column) of B that a lane holds in a register."""
    return lane % 4 + 4 * register, lane // 4


def fragment_c(lane: Any, register: int) -> tuple[Any, Any]:
    """(row, column) of the sum that a lane holds in a register."""
    return lane // 4 + _TILE_COLUMNS * (register // 2), lane % 4 * 2 + register % 2


def mma_gemm(
    planes: Planes,
    w: Any,
    sizes: tuple[int, int, int],
    writer: ResultWriter,
    isa: Isa,
    mma: Mma = native_mma,
) -> None:
    """One launch; ``sizes`` are rows, inputs and outputs, the rest as for `bits_gpu.bit_gemm`."""
    rows, inputs, outputs = sizes
    grid = ceil_div(outputs, COLUMNS), ceil_div(rows, ROWS)
    with launch(grid, [_WARPS * _LANES]) as ((bx, by), (me,)):
        block = _Block(planes, w, rows, words_of(inputs), (bx, by, me), mma)
        block.sum_up()
        for number in range(_ACROSS):
            for register in range(4):
                row, column = block.place(number, register)
                with when(T.And(row < rows, column < outputs)):
                    total = block.total(number, register)
                    writer.write_row(row, column, [(0, 1, total)], isa)


class _Block:
    """The code of one block."""

    def __init__(self, planes: Planes, w: Any, rows: int, words: int, at: Any, mma: Mma) -> None:
        self._planes, self._w, self._rows, self._words, self._mma = planes, w, rows, words, mma
        self._weights = int(w.shape[1]) // words
        self._bx, self._by, self._me = at
        self._lane, warp = self._me % _LANES, self._me // _LANES
        self._row, self._column = warp // 2 * _TILE_ROWS, warp % 2 * (COLUMNS // 2)
        # pitches that put the words which a warp reads at once into 32 banks
        self._x = Shared((2, ROWS, WORDS), "uint32", pad=4)
        self._s = Shared((self._weights, WORDS, COLUMNS), "uint32", pad=8)
        self._sums = [Registers(4 * _ACROSS, "int32") for _ in range(2)]
        self._counts = [Registers(4, "int32") for _ in range(2)]

    def sum_up(self) -> None:
        """All words, 256 bits at a time."""
        for registers in (*self._sums, *self._counts):
            for i in range(registers.count):
                registers[i] = T.int32(0)
        with T.serial(0, ceil_div(self._words, WORDS)) as chunk:
            self._load(chunk * WORDS)
            barrier()
            a = [
                [self._x[(plane, self._row + row, word)] for row, word in self._fragments_a()]
                for plane in (NEGATIVE, _POSITIVE)
            ]
            ones = [T.uint32(0xFFFFFFFF)] * 2
            for plane in (NEGATIVE, _POSITIVE):
                self._mma(self._counts[plane], 0, a[plane], ones)
            for number in range(_ACROSS):
                for weights in range(self._weights):
                    b = [
                        self._s[weights, word, self._column + _TILE_COLUMNS * number + column]
                        for word, column in (fragment_b(self._lane, r) for r in range(2))
                    ]
                    for plane in (NEGATIVE, _POSITIVE):
                        self._mma(self._sums[plane], number, a[plane], b)
            barrier()

    def _fragments_a(self) -> list[tuple[Any, Any]]:
        return [fragment_a(self._lane, register) for register in range(4)]

    def place(self, number: int, register: int) -> tuple[Any, Any]:
        """Row and column of one of this thread's sums."""
        row, column = fragment_c(self._lane, register)
        first = self._bx * COLUMNS + self._column + _TILE_COLUMNS * number
        return self._by * ROWS + self._row + row, first + column

    def total(self, number: int, register: int) -> Any:
        """Σ a·w in that place; the sums of ones lie in the same rows."""
        at, factor = 4 * number + register, T.int32(2 if self._weights == 1 else 1)
        positive, negative = self._sums[_POSITIVE], self._sums[NEGATIVE]
        counts = self._counts[_POSITIVE][register] - self._counts[NEGATIVE][register]
        return counts - factor * (positive[at] - negative[at])

    def _load(self, first: Any) -> None:
        threads = _WARPS * _LANES

        def one_x(e: Any) -> None:
            word, r = e % WORDS, e // WORDS
            row = self._by * ROWS + r
            inside = T.And(row < self._rows, first + word < self._words)
            zero = T.uint32(0)
            negative, nonzero = (
                T.if_then_else(inside, self._planes.plane(row, p, first + word), zero)
                for p in (NEGATIVE, NONZERO)
            )
            self._x[NEGATIVE, r, word] = negative
            self._x[_POSITIVE, r, word] = nonzero ^ self._x[NEGATIVE, r, word]

        def one_w(e: Any) -> None:
            column, word, plane = e % COLUMNS, e // COLUMNS % WORDS, e // COLUMNS // WORDS
            value = self._w[self._bx, plane * self._words + first + word, column]
            if self._words % WORDS:
                value = T.if_then_else(first + word < self._words, value, T.uint32(0))
            self._s[plane, word, column] = value

        for_all(ROWS * WORDS, threads, self._me, one_x)
        for_all(self._weights * WORDS * COLUMNS, threads, self._me, one_w)
