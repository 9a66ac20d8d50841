"""Event lists: the indices of active inputs, compacted without branches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.target import Isa

_COMPRESS_LANES = 16  # of one vpcompressd


def _compress(element: str, values: Any, active: Any) -> Any:
    """The active lanes of ``values``, moved to the front."""
    dtype = "int32" if element == "i32" else "float32"
    nothing = T.broadcast(T.cast(0, dtype), _COMPRESS_LANES)
    return T.call_llvm_pure_intrin(
        f"{dtype}x{_COMPRESS_LANES}",
        f"llvm.x86.avx512.mask.compress.v{_COMPRESS_LANES}{element}",
        values,
        nothing,
        active,
    )


class EventList:
    """Indices (and counts, unless binary) of the non-zero inputs of one row.

    The lists live in planned scratch memory: one row per parallel chunk. Appending writes every
    candidate and advances only past the active ones, so there is no branch to mispredict. On
    AVX-512 that is sixteen candidates an instruction.
    """

    def __init__(self, buffers: list[Any], chunk: Any, binary: bool, isa: Isa) -> None:
        self._index, self._length = buffers[0], buffers[1]
        self._count = None if binary else buffers[2]
        self._chunk = chunk
        self._compress = isa.name == "avx512"

    @staticmethod
    def scratch(chunks: int, inputs: int, binary: bool) -> tuple[TensorType, ...]:
        """Buffers to plan: indices, lengths, and counts unless binary."""
        # slack: candidates past the last active one are written too, up to a vector of them
        slots = inputs + _COMPRESS_LANES
        lists = TensorType((chunks, slots), "int32"), TensorType((chunks, 16), "int32")
        return lists if binary else (*lists, TensorType((chunks, slots), "float32"))

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
        whole = inputs // _COMPRESS_LANES * _COMPRESS_LANES if self._compress else 0
        if whole:
            with T.serial(0, whole // _COMPRESS_LANES) as block:
                self._append_vector(end, spikes, block * _COMPRESS_LANES, base)
        if whole < inputs:
            with T.serial(0, inputs - whole) as i:
                self._append_one(end, spikes(whole + i, 1), whole + i + base)
        tir.store(self._length, [self._chunk, 0], end[0])

    def _append_one(self, end: Any, spike: Any, index: Any) -> None:
        tir.store(self._index, [self._chunk, end[0]], index)
        if self._count is not None:
            tir.store(self._count, [self._chunk, end[0]], T.cast(spike, "float32"))
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
        T.buffer_store(self._index, _compress("i32", indices, active), [self._chunk, where])
        if self._count is not None:
            counts = T.cast(values, f"float32x{lanes}")
            T.buffer_store(self._count, _compress("f32", counts, active), [self._chunk, where])
        found = T.call_llvm_pure_intrin(
            "int32", f"llvm.vector.reduce.add.v{lanes}i32", T.cast(active, f"int32x{lanes}")
        )
        tir.store(end, [0], end[0] + found)

    def for_each(self, body: Callable[[Any, Any], None]) -> None:
        """``body(index, count)`` for every event in order; count is None for binary spikes."""
        with T.serial(0, self.length) as j:
            count = None if self._count is None else self._count[self._chunk, j]
            body(self._index[self._chunk, j], count)
