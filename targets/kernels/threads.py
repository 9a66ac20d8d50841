"""Writing kernels for GPUs with TVM's IRBuilder: launches, shared memory, barriers, registers.

One source serves CUDA C (NVIDIA's compiler) and OpenCL C (PoCL, in tests), so kernels keep to what
both have: no warp shuffles, no asynchronous copies. Products and sums are rounded one by one, as on
CPUs (CUDA is compiled without contraction); `fma` rounds once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.errors import UnsupportedError

_AXES = "xyz"
_MOST_BLOCKS = 65535  # along y and z; CUDA C++ Programming Guide, technical specifications
ELEMENTS = 128  # threads of a block where each has one element


def ceil_div(a: int, b: int) -> int:
    """⌈a / b⌉."""
    return -(-a // b)


@contextmanager
def launch(blocks: Sequence[int], threads: Sequence[int]) -> Iterator[tuple[list[Any], list[Any]]]:
    """One launch of a grid of ``blocks`` blocks of ``threads`` threads; gives both sets of indices.

    The first axis is x, whose neighbouring threads should touch neighbouring memory.
    UnsupportedError for a grid that CUDA does not launch.
    """
    if any(extent > _MOST_BLOCKS for extent in blocks[1:]):
        raise UnsupportedError(
            f"[gpu] a grid may have {_MOST_BLOCKS} blocks along y and z, but wants {list(blocks)};"
            " use a smaller batch"
        )
    with ExitStack() as stack:
        indices = [
            [
                stack.enter_context(T.thread_binding(0, extent, thread=f"{kind}Idx.{axis}"))
                for axis, extent in zip(_AXES, extents, strict=False)
            ]
            for kind, extents in (("block", blocks), ("thread", threads))
        ]
        yield indices[0], indices[1]


class Shared:
    """A buffer that the threads of a block share, its rows ``pad`` elements apart.

    It is flat: TVM would cut what nobody touches, padding against conflicts of banks with it.
    """

    def __init__(self, shape: Sequence[int], dtype: str, pad: int = 0) -> None:
        self._shape = [*shape[:-1], shape[-1] + pad]
        self._buffer = T.alloc_buffer((math.prod(self._shape),), dtype, scope="shared")

    def _flat(self, at: Sequence[Any]) -> Any:
        index = at[0]
        for extent, i in zip(self._shape[1:], at[1:], strict=True):
            index = index * extent + i
        return index

    def __getitem__(self, at: tuple[Any, ...]) -> Any:
        return self._buffer[self._flat(at)]

    def __setitem__(self, at: tuple[Any, ...], value: Any) -> None:
        T.buffer_store(self._buffer, value, [self._flat(at)])


def barrier() -> None:
    """All threads of the block have come so far, and see what the others wrote to shared memory."""
    T.evaluate(T.tvm_storage_sync("shared"))


class Registers:
    """Values private to a thread, ``count`` of them; indices must be constant, or they spill.

    ``scope``: "local", or "global" in a kernel for CPUs, which keeps small buffers on the stack.
    """

    def __init__(self, count: int, dtype: str, scope: str = "local") -> None:
        self.count = count
        self._buffer = T.alloc_buffer((count,), dtype, scope=scope)

    def __getitem__(self, index: Any) -> Any:
        return self._buffer[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        T.buffer_store(self._buffer, value, [index])

    def address(self, index: int) -> Any:
        """Where a value lies, for device functions; in a register once they are inlined."""
        return T.address_of(self._buffer[index])


def fma(a: Any, b: Any, c: Any) -> Any:
    """a·b + c, rounded once; the same name in CUDA C and OpenCL C."""
    return T.call_pure_extern("float32", "fma", a, b, c)


@contextmanager
def when(condition: Any) -> Iterator[None]:
    """``if (condition)``; a Python bool decides while the kernel is written."""
    if isinstance(condition, bool):
        if condition:
            yield
        return
    with T.If(condition), T.Then():
        yield


def for_all(total: int, threads: int, me: Any, body: Callable[[Any], None]) -> None:
    """``body(i)`` for every i < ``total``, dealt out to the ``threads`` threads in turn."""
    rounds, rest = divmod(total, threads)
    if rounds == 1:
        body(me)
    elif rounds:
        with T.serial(0, rounds) as i:
            body(i * threads + me)
    if rest:
        with T.If(me < rest), T.Then():
            body(rounds * threads + me)


def reduce_block(
    buffer: Shared, threads: int, me: Any, value: Any, combine: Callable[[Any, Any], Any]
) -> Any:
    """``combine`` of one value per thread, the same for all of them, in a fixed order (a tree).

    ``threads`` is a power of two and the size of ``buffer``; the result is ``buffer[0]``.
    """
    buffer[(me,)] = value
    barrier()
    step = threads // 2
    while step:
        with T.If(me < step), T.Then():
            buffer[(me,)] = combine(buffer[(me,)], buffer[(me + step,)])
        barrier()
        step //= 2
    return buffer[(0,)]


def each_element(shape: Sequence[int], body: Callable[[list[Any]], None]) -> None:
    """One launch, a thread for every element: ``body(indices)``, the last axis along threads."""
    total = math.prod(shape)
    with launch([ceil_div(total, ELEMENTS)], [ELEMENTS]) as ((block,), (me,)):
        flat = block * ELEMENTS + me
        with when(flat < total if total % ELEMENTS else True):
            index: list[Any] = []
            for extent in reversed(shape[1:]):
                index.insert(0, flat % extent)
                flat = flat // extent
            body([flat, *index] if shape else [])
