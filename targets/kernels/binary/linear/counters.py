"""Counting the set bits of many words: one strategy for each kind of vector unit.

Instructions per vector of words, without the exclusive-or that makes it:

    words     vpopcntd, add                                    2      AVX-512 with VPOPCNTDQ
    carries   7 carry-save adders of 2 vpternlogd and the
              bytes of one vector, for 8 vectors               2.8    AVX-512
    bytes     cnt, add (NEON); 2 vpshufb and 5 more (AVX2)     2, 7   anything with bytes in lanes
    nibbles   per word 7, a third of 4, a 30th of 6            8.5    scalar cores
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd
from millijoule.targets.kernels.binary.words import byte_sums, popcount, word
from millijoule.targets.target import Isa

# bits(row, vector, word): the vector of words to count
Bits = Callable[[int, tuple[int, int], Any], Any]


class Counter:
    """Population counts of a tile of rows × vectors, over a row of words.

    ``flush_after`` words the partial sums must be moved to ``total``.
    """

    group = 1
    flush_after = 1 << 30

    def __init__(self, rows: int, columns: int, lanes: int) -> None:
        self.rows, self.lanes = rows, lanes
        self.total = simd.Accumulators(rows, columns, lanes, "int32")
        self.total.fill(lambda _, v: simd.zeros(v[1], "int32"))

    def tile(self) -> Iterator[tuple[int, tuple[int, int]]]:
        """Every (row, vector)."""
        for vector in self.total.vectors:
            for row in range(self.rows):
                yield row, vector

    def begin(self) -> None:
        """Clear the partial sums."""

    def add(self, bits: Bits, first: Any) -> None:
        """Count ``group`` words from ``first``."""
        raise NotImplementedError

    def add_one(self, bits: Bits, index: Any) -> None:
        """Count one word that no group holds."""
        self.add(bits, index)

    def flush(self) -> None:
        """Move the partial sums to ``total``."""

    def _increase(self, row: int, vector: tuple[int, int], value: Any) -> None:
        self.total.set(row, vector, self.total.get(row, vector) + value)


class WordCounter(Counter):
    """Where the vector unit counts words itself."""

    def add(self, bits: Bits, first: Any) -> None:
        for row, vector in self.tile():
            self._increase(row, vector, popcount(bits(row, vector, first), self.lanes))


class ByteCounter(Counter):
    """Bytes hold 31 counts of up to 8 each."""

    flush_after = 31

    def __init__(self, rows: int, columns: int, lanes: int) -> None:
        super().__init__(rows, columns, lanes)
        self._bytes = simd.Accumulators(rows, 4 * columns, 4 * lanes, "uint8")

    def _at(self, vector: tuple[int, int]) -> tuple[int, int]:
        return 4 * vector[0], 4 * vector[1]

    def begin(self) -> None:
        self._bytes.fill(lambda _, v: simd.zeros(v[1], "uint8"))

    def _count(self, row: int, vector: tuple[int, int], bits: Any) -> None:
        at = self._at(vector)
        counts = T.popcount(T.reinterpret(f"uint8x{at[1]}", bits))
        self._bytes.set(row, at, self._bytes.get(row, at) + counts)

    def add(self, bits: Bits, first: Any) -> None:
        for row, vector in self.tile():
            self._count(row, vector, bits(row, vector, first))

    def flush(self) -> None:
        for row, vector in self.tile():
            self._increase(row, vector, self._sums(row, vector))

    def _sums(self, row: int, vector: tuple[int, int]) -> Any:
        words = T.reinterpret(f"uint32x{vector[1]}", self._bytes.get(row, self._at(vector)))
        return byte_sums(words, vector[1])


class CarryCounter(ByteCounter):
    """Harley-Seal: carry-save adders sum eight words into digits of 1, 2, 4 and 8.

    The bytes count the eights; ones, twos and fours are counted when all is over.
    """

    group = 8
    flush_after = 31 * 8

    def __init__(self, rows: int, columns: int, lanes: int) -> None:
        super().__init__(rows, columns, lanes)
        self._digits = [simd.Accumulators(rows, columns, lanes, "uint32") for _ in range(3)]

    def begin(self) -> None:
        super().begin()
        for digit in self._digits:
            digit.fill(lambda _, v: word(0, v[1]))

    def add(self, bits: Bits, first: Any) -> None:
        for row, vector in self.tile():
            loaded = [bits(row, vector, first + i) for i in range(self.group)]
            digits = [digit.get(row, vector) for digit in self._digits]
            carries = self._keep(vector[1], loaded)
            for level, digit in enumerate(self._digits):
                carried = []
                for i in range(0, len(carries), 2):
                    total, carry = _carry_save(digits[level], carries[i], carries[i + 1], vector[1])
                    digits[level], kept = self._keep(vector[1], [total, carry])
                    carried.append(kept)
                digit.set(row, vector, digits[level])
                carries = carried
            self._count(row, vector, carries[0])

    @staticmethod
    def _keep(lanes: int, values: list[Any]) -> list[Any]:
        """``values`` in variables: an expression that is used twice would be computed twice."""
        kept = []
        for value in values:
            variable = T.alloc_buffer((lanes,), "uint32")
            T.buffer_store(variable, value, [simd.lanes_at(0, lanes)])
            kept.append(variable[simd.lanes_at(0, lanes)])
        return kept

    def add_one(self, bits: Bits, index: Any) -> None:
        for row, vector in self.tile():
            self._increase(row, vector, popcount(bits(row, vector, index), self.lanes))

    def flush(self) -> None:
        for row, vector in self.tile():
            self._increase(row, vector, self._sums(row, vector) * simd.splat(T.int32(8), vector[1]))
            for level, digit in enumerate(self._digits):
                counts = popcount(digit.get(row, vector), vector[1])
                self._increase(row, vector, counts << simd.splat(T.int32(level), vector[1]))


def _carry_save(a: Any, b: Any, c: Any, lanes: int) -> tuple[Any, Any]:
    """(sum, carry) of three bits, in every bit of a word: two vpternlogd."""

    def logic(table: int) -> Any:
        name = "llvm.x86.avx512.pternlog.d.512"
        return T.call_llvm_pure_intrin(f"uint32x{lanes}", name, a, b, c, T.int32(table))

    return logic(0x96), logic(0xE8)


class NibbleCounter(Counter):
    """For cores without vectors: nibbles sum three words, bytes ten such groups."""

    group = 3
    flush_after = 30

    def __init__(self, rows: int, columns: int, lanes: int) -> None:
        super().__init__(rows, columns, lanes)
        self._bytes = simd.Accumulators(rows, columns, lanes, "uint32")

    def begin(self) -> None:
        self._bytes.fill(lambda _, v: word(0, v[1]))

    def add(self, bits: Bits, first: Any) -> None:
        self._count(bits, first, self.group)

    def add_one(self, bits: Bits, index: Any) -> None:
        self._count(bits, index, 1)

    def _count(self, bits: Bits, first: Any, words: int) -> None:
        value, nibbles = T.alloc_buffer((1,), "uint32"), T.alloc_buffer((1,), "uint32")
        for row, vector in self.tile():
            for i in range(words):
                T.buffer_store(value, bits(row, vector, first + i), [0])
                pairs = value[0] - ((value[0] >> word(1)) & word(0x55555555))
                T.buffer_store(value, pairs, [0])
                fours = (value[0] & word(0x33333333)) + ((value[0] >> word(2)) & word(0x33333333))
                T.buffer_store(nibbles, fours if i == 0 else nibbles[0] + fours, [0])
            low, high = nibbles[0] & word(0x0F0F0F0F), (nibbles[0] >> word(4)) & word(0x0F0F0F0F)
            self._bytes.set(row, vector, self._bytes.get(row, vector) + (low + high))

    def flush(self) -> None:
        for row, vector in self.tile():
            self._increase(row, vector, byte_sums(self._bytes.get(row, vector), 1))


def counter_of(isa: Isa) -> type[Counter]:
    """The strategy of a vector unit."""
    if isa.lanes == 1:
        return NibbleCounter
    if isa.name == "avx512":
        return WordCounter if isa.popcount else CarryCounter
    return ByteCounter


def count_words(counter: Counter, bits: Bits, words: int) -> None:
    """Add ``words`` words to ``counter.total``; partial sums are flushed in time."""
    longest = counter.flush_after // counter.group * counter.group

    def part(first: Any, length: int) -> None:
        counter.begin()
        groups, rest = divmod(length, counter.group)
        if groups:
            with T.serial(0, groups) as i:
                counter.add(bits, first + i * counter.group)
        for i in range(rest):
            counter.add_one(bits, first + (groups * counter.group + i))
        counter.flush()

    simd.for_blocks(words, min(longest, words), part)
