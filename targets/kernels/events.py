"""Event lists: the indices of active inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import simd
from millijoule.targets.target import Isa

_COMPRESS_LANES = 16  # of one vpcompressd
_WORD = 4  # spikes that a microcontroller looks at together


def _compress(values: Any, dtype: str, active: Any) -> Any:
    """The active lanes of ``values``, moved to the front."""
    element = "i32" if dtype == "int32" else "f32"
    return T.call_llvm_pure_intrin(
        f"{dtype}x{_COMPRESS_LANES}",
        f"llvm.x86.avx512.mask.compress.v{_COMPRESS_LANES}{element}",
        values,
        simd.zeros(_COMPRESS_LANES, dtype),
        active,
    )


class EventList:
    """Indices (and counts, unless binary) of the non-zero inputs of one row, in ascending order.

    The lists live in planned scratch memory: one row per parallel chunk. Appending writes every
    candidate and advances only past the active ones, so there is no branch to mispredict. On
    AVX-512 that is sixteen candidates an instruction. Microcontrollers, where a branch is cheap,
    look at four spikes at once and pass over words of zeros.
    """

    def __init__(self, buffers: list[Any], chunk: Any, binary: bool, isa: Isa) -> None:
        self._index, self._length = buffers[0], buffers[1]
        self._count = None if binary else buffers[2]
        self.binary = binary
        self._chunk = chunk
        self._row_of: Callable[[Any], Any] | None = None
        self._compress = isa.name == "avx512"
        self._words = _by_words(isa)
        self.capacity = int(self._index.shape[1]) - _slack(isa)

    @staticmethod
    def scratch(
        chunks: int, inputs: int, binary: bool, isa: Isa, counts: str = "float32"
    ) -> tuple[TensorType, ...]:
        """Buffers to plan: indices, lengths, and counts of type ``counts`` unless binary."""
        slots = inputs + _slack(isa)
        index = "uint16" if _by_words(isa) and inputs <= 1 << 16 else "int32"
        lists = TensorType((chunks, slots), index), TensorType((chunks, 16), "int32")
        return lists if binary else (*lists, TensorType((chunks, slots), counts))

    @property
    def length(self) -> Any:
        """How many events there are."""
        return self._length[self._chunk, 0]

    def clear(self) -> None:
        """Start an empty list."""
        tir.store(self._length, [self._chunk, 0], T.int32(0))

    def append(self, spikes: Callable[[Any, int], Any], inputs: int, base: int) -> None:
        """Append ``base + i`` for every i < inputs whose spike is not zero.

        ``spikes(start, lanes)`` loads consecutive spikes.
        """
        end = T.alloc_buffer((1,), "int32")
        tir.store(end, [0], self.length)
        step = _COMPRESS_LANES if self._compress else _WORD if self._words else inputs + 1
        take = self._append_vector if self._compress else self._append_word
        whole = inputs // step * step
        if whole:
            with T.serial(0, whole // step) as block:
                take(end, spikes, block * step, base)
        if whole < inputs:
            with T.serial(0, inputs - whole) as i:
                self._append_one(end, spikes(whole + i, 1), whole + i + base)
        tir.store(self._length, [self._chunk, 0], end[0])

    def _put(self, end: Any, spike: Any, index: Any) -> None:
        tir.store(self._index, [self._chunk, end[0]], T.cast(index, self._index.dtype))
        if self._count is not None:
            tir.store(self._count, [self._chunk, end[0]], T.cast(spike, self._count.dtype))

    def _append_one(self, end: Any, spike: Any, index: Any) -> None:
        self._put(end, spike, index)
        tir.store(end, [0], end[0] + T.cast(spike != 0, "int32"))

    def _append_vector(
        self, end: Any, spikes: Callable[[Any, int], Any], start: Any, base: int
    ) -> None:
        """Sixteen at once: vpcompressd squeezes the active lanes together, popcnt counts them."""
        lanes = _COMPRESS_LANES
        values = spikes(start, lanes)
        active = values != T.broadcast(T.uint8(0), lanes)
        where = T.ramp(end[0], 1, lanes)
        indices = T.ramp(start + base, 1, lanes)
        T.buffer_store(self._index, _compress(indices, "int32", active), [self._chunk, where])
        if self._count is not None:
            dtype = str(self._count.dtype)
            counts = simd.convert(values, dtype, lanes)
            T.buffer_store(self._count, _compress(counts, dtype, active), [self._chunk, where])
        found = T.call_llvm_pure_intrin(
            "int32", f"llvm.vector.reduce.add.v{lanes}i32", T.cast(active, f"int32x{lanes}")
        )
        tir.store(end, [0], end[0] + found)

    def _append_word(
        self, end: Any, spikes: Callable[[Any, int], Any], start: Any, base: int
    ) -> None:
        """Four at once: count leading zeros to the next active byte, clear it, until none is left.

        Four instructions for a word without spikes; six for each spike, eight with its count.
        """
        word, zeros = T.alloc_buffer((1,), "uint32"), T.alloc_buffer((1,), "uint32")
        tir.store(word, [0], T.reinterpret("uint32", spikes(start, _WORD)))
        # the first spike in front, where the core counts zeros
        tir.store(word, [0], T.call_llvm_pure_intrin("uint32", "llvm.bswap.i32", word[0]))
        with T.While(word[0] != T.uint32(0)):
            tir.store(zeros, [0], T.cast(T.clz(word[0]), "uint32"))
            at = zeros[0] >> T.uint32(3)
            if self._count is None:  # a single bit is set
                spike, keep = T.uint32(1), T.uint32(0x7FFFFFFF) >> zeros[0]
            else:
                before = zeros[0] & T.uint32(24)
                spike = word[0] >> (T.uint32(24) - before)
                keep = T.uint32(0x00FFFFFF) >> before
            self._put(end, spike, start + base + T.cast(at, "int32"))
            tir.store(end, [0], end[0] + 1)
            tir.store(word, [0], word[0] & keep)

    def mapped(self, row_of: Callable[[Any], Any]) -> EventList:
        """The same list, whose `for_each` gives ``row_of(index)``."""
        view = copy.copy(self)
        view._row_of = row_of
        return view

    def for_each(self, body: Callable[[Any, Any], None], first: Any = 0, last: Any = None) -> None:
        """``body(index, count)`` for events ``first`` to ``last`` in order, all by default.

        ``count`` is None for binary spikes.
        """
        # in a variable, or TVM folds it into every vector's address instead of computing a row once
        row = None if self._row_of is None else tir.scratch([1], "int32")
        with tir.between(first, self.length if last is None else last) as j:
            count = None if self._count is None else self._count[self._chunk, j]
            index = T.cast(self._index[self._chunk, j], "int32")
            if self._row_of is not None and row is not None:
                tir.store(row, [0], self._row_of(index))
                index = row[0]
            body(index, count)


def _by_words(isa: Isa) -> bool:
    return isa.int8 in ("dsp", "mve")


def _slack(isa: Isa) -> int:
    """Slots behind the last event: candidates are written before it is known that they count."""
    return _COMPRESS_LANES if isa.name == "avx512" else 1
