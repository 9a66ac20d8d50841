"""Event lists: the indices of active inputs, compacted without branches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir


class EventList:
    """Indices (and counts, unless binary) of the non-zero inputs of one row.

    The lists live in planned scratch memory: one row per parallel chunk. Appending writes every
    candidate and advances only past the active ones, so there is no branch to mispredict.
    """

    def __init__(self, buffers: list[Any], chunk: Any, binary: bool) -> None:
        self._index, self._length = buffers[0], buffers[1]
        self._count = None if binary else buffers[2]
        self._chunk = chunk

    @staticmethod
    def scratch(chunks: int, inputs: int, binary: bool) -> tuple[TensorType, ...]:
        """Buffers to plan: indices, lengths, and counts unless binary."""
        # one slot more than inputs: the slot past the end is written when the last input is silent
        lists = TensorType((chunks, inputs + 1), "int32"), TensorType((chunks, 16), "int32")
        return lists if binary else (*lists, TensorType((chunks, inputs + 1), "float32"))

    @property
    def length(self) -> Any:
        """How many events there are."""
        return self._length[self._chunk, 0]

    def clear(self) -> None:
        """Start an empty list."""
        tir.store(self._length, [self._chunk, 0], T.int32(0))

    def append(self, spike: Callable[[Any], Any], inputs: int, base: int) -> None:
        """Append ``base + i`` for every i < inputs with ``spike(i)`` ≠ 0."""
        end = T.alloc_buffer((1,), "int32", scope="local")
        tir.store(end, [0], self.length)
        with T.serial(0, inputs) as i:
            tir.store(self._index, [self._chunk, end[0]], i + base)
            if self._count is None:
                tir.store(end, [0], end[0] + T.cast(spike(i), "int32"))
            else:
                tir.store(self._count, [self._chunk, end[0]], T.cast(spike(i), "float32"))
                tir.store(end, [0], end[0] + T.cast(spike(i) != 0, "int32"))
        tir.store(self._length, [self._chunk, 0], end[0])

    def for_each(self, body: Callable[[Any, Any], None]) -> None:
        """``body(index, count)`` for every event in order; count is None for binary spikes."""
        with T.serial(0, self.length) as j:
            count = None if self._count is None else self._count[self._chunk, j]
            body(self._index[self._chunk, j], count)
