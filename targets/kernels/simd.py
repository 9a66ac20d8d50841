"""Writing vector code with TVM's IRBuilder: ramps, blocks of columns, accumulators in registers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.targets.target import Isa


def lanes_at(start: Any, lanes: int) -> Any:
    """Index of ``lanes`` consecutive elements."""
    return start if lanes == 1 else T.ramp(start, 1, lanes)


def splat(value: Any, lanes: int) -> Any:
    """``value`` in every lane."""
    return value if lanes == 1 else T.broadcast(value, lanes)


def zeros(lanes: int, dtype: str = "float32") -> Any:
    """A vector of zeros."""
    return splat(T.cast(0, dtype), lanes)


def vector_type(dtype: str, lanes: int) -> str:
    """TVM's name of a vector type; the element's own for one lane."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def convert(value: Any, dtype: str, lanes: int) -> Any:
    """Every lane of ``value`` as ``dtype``."""
    return T.cast(value, vector_type(dtype, lanes))


def fma(a: Any, b: Any, c: Any, lanes: int, isa: Isa | None = None, dtype: str = "float32") -> Any:
    """``a·b + c`` rounded once; on the scalar unit, which may have no such instruction, twice."""
    if isa is not None and isa.name == "scalar":
        return a * b + c
    element = dtype.replace("float", "f")
    suffix = element if lanes == 1 else f"v{lanes}{element}"
    return T.call_llvm_pure_intrin(vector_type(dtype, lanes), f"llvm.fma.{suffix}", a, b, c)


def lane(values: Any, index: int, lanes: int) -> Any:
    """Element ``index`` of a vector; on NEON it becomes an operand of the multiply-add itself."""
    return values if lanes == 1 else T.Shuffle([values], [index])


def vectors(width: int, lanes: int) -> list[tuple[int, int]]:
    """(offset, lanes) of the vectors that cover ``width`` columns; the last may be short."""
    return [(v, min(lanes, width - v)) for v in range(0, width, lanes)]


def padded(count: Any, lanes: int) -> Any:
    """``count`` elements, a number or an expression, rounded up to whole vectors."""
    return -(-count // lanes) * lanes


def part_of(total: Any, chunk: Any, chunks: int) -> tuple[Any, Any]:
    """(first, end) of what ``chunk`` of ``chunks`` even parts has of ``total`` pieces of work."""
    return total * chunk // chunks, total * (chunk + 1) // chunks


def prefetch(buffer: Any, index: Sequence[Any]) -> None:
    """Ask for the cache line of one element; outside of the buffer it does no harm."""
    address = T.address_of(buffer[tuple(index)])
    read, keep, data = (T.int32(v) for v in (0, 3, 1))
    T.evaluate(T.call_llvm_intrin("void", "llvm.prefetch.p0", address, read, keep, data))


def ceil_div(total: Any, by: int) -> Any:
    """``⌈total / by⌉`` of a number, or of one that varies as an expression."""
    return -(-total // by) if isinstance(total, int) else (T.int64(0) + total + (by - 1)) // by


def for_blocks(
    total: Any,
    width: int,
    body: Callable[[Any, int], None],
    loop: Callable[[int, int], AbstractContextManager[Any]] = T.serial,
) -> None:
    """``body(start, size)`` for every block of ``width`` columns, then once for the tail.

    Full blocks share one piece of code in a loop; ``size`` is a Python int, so that ``body`` may
    unroll over it. A ``total`` that varies has its tail in blocks of halves of the width, or one by
    one.
    """
    if not isinstance(total, int):
        _for_varying_blocks(total, width, body, loop)
        return
    full, tail = divmod(total, width)
    if full == 1:
        body(0, width)
    elif full:
        with loop(0, full) as i:
            body(i * width, width)
    if tail:
        body(full * width, tail)


def _for_varying_blocks(
    total: Any,
    width: int,
    body: Callable[[Any, int], None],
    loop: Callable[[Any, Any], AbstractContextManager[Any]],
) -> None:
    total = T.int64(0) + total
    with loop(0, total // width) as i:
        body(i * width, width)
    start = total // width * width
    if width & (width - 1):
        with tir.between(start, total) as i:
            body(i, 1)
        return
    while width > 1:
        width //= 2
        with T.If(total % (2 * width) >= width), T.Then():
            body(total // (2 * width) * (2 * width), width)


class Accumulators:
    """``rows × width`` accumulators that LLVM keeps in vector registers.

    One small buffer per vector, accessed whole: LLVM promotes each to a register. TVM keeps a
    buffer on the stack only if it is small and of "global" scope; any other would be taken from the
    workspace, which parallel workers do not have.
    """

    def __init__(self, rows: int, width: int, lanes: int, dtype: str = "float32") -> None:
        self.rows, self.width, self.lanes, self.dtype = rows, width, lanes, dtype
        self.vectors = vectors(width, lanes)
        self._dtype = dtype
        self._buffers = {
            (row, offset): T.alloc_buffer((size,), dtype)
            for row in range(rows)
            for offset, size in self.vectors
        }

    def get(self, row: int, vector: tuple[int, int]) -> Any:
        """The value of one vector."""
        return self._buffers[row, vector[0]][lanes_at(0, vector[1])]

    def set(self, row: int, vector: tuple[int, int], value: Any) -> None:
        """Assign one vector."""
        T.buffer_store(self._buffers[row, vector[0]], value, [lanes_at(0, vector[1])])

    def part(self, row: int, offset: int, lanes: int) -> Any:
        """``lanes`` values from ``offset``, which lie in one vector."""
        start = self._vector_of(offset, lanes)
        return self._buffers[row, start][lanes_at(offset - start, lanes)]

    def set_part(self, row: int, offset: int, lanes: int, value: Any) -> None:
        """Assign ``lanes`` values from ``offset``, which lie in one vector."""
        start = self._vector_of(offset, lanes)
        T.buffer_store(self._buffers[row, start], value, [lanes_at(offset - start, lanes)])

    def _vector_of(self, offset: int, lanes: int) -> int:
        start, size = next(v for v in self.vectors if v[0] <= offset < v[0] + v[1])
        assert offset - start + lanes <= size
        return start

    def across(self, row: int, op: Callable[[Any, Any], Any]) -> Any:
        """A buffer of one value: ``op`` over a row of whole vectors, then over lanes, by halves."""
        dtype = self._dtype
        parts = list(self.vectors)
        while len(parts) > 1:
            half = (len(parts) + 1) // 2
            for a, b in zip(parts[:half], parts[half:], strict=False):
                self.set(row, a, op(self.get(row, a), self.get(row, b)))
            parts = parts[:half]
        source, size = self._buffers[row, 0], parts[0][1]
        while size > 1:
            size //= 2
            target = T.alloc_buffer((size,), dtype)
            halves = [load(source, [], offset, size) for offset in (0, size)]
            save(target, [], 0, size, op(*halves))
            source = target
        return source

    def fill(self, value: Callable[[int, tuple[int, int]], Any]) -> None:
        """Assign every vector ``value(row, vector)``."""
        for row in range(self.rows):
            for vector in self.vectors:
                self.set(row, vector, value(row, vector))


def load(buffer: Any, index: Sequence[Any], start: Any, lanes: int) -> Any:
    """``buffer[*index, start : start + lanes]``."""
    where = (*index, lanes_at(start, lanes))
    return buffer[where]


def save(buffer: Any, index: Sequence[Any], start: Any, lanes: int, value: Any) -> None:
    """``buffer[*index, start : start + lanes] = value``."""
    T.buffer_store(buffer, value, [*index, lanes_at(start, lanes)])
