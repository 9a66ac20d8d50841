"""A thin layer over TVM's IRBuilder for writing kernels as plain Python loops.

Every kernel is one opaque block over its whole buffers, which is what Relax's analysis passes
expect of a function that cannot be fused.

Every loop starts at zero. TVM 0.27 moves others there (CanonicalizeLoop) and replaces the variable
inside, but not in bounds of inner loops that it moves, too: those would count something else.
`between` gives ranges that start anywhere; `kernel` refuses loops that do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import tvm.script.ir_builder.tirx as T
from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm_ffi import structural_walk

from millijoule.converters.ops.vocabulary import TensorType

OPAQUE_PATTERN = 8  # relax::OpPatternKind::kOpaque: FuseOps leaves the function alone


class Kernel:
    """A PrimFunc under construction; ``func`` holds it once the ``with`` block of `kernel` ends."""

    func: Any = None

    def __init__(self, buffers: list[Any]) -> None:
        self.buffers = buffers


@contextmanager
def kernel(
    name: str, operands: Sequence[TensorType], results: Sequence[TensorType]
) -> Iterator[Kernel]:
    """Open a kernel named ``name``; its buffers are the operands followed by the results.

    Raises ValueError if a loop in it starts elsewhere than at zero.
    """
    with IRBuilder() as builder, T.prim_func(private=True, s_tir=True):
        T.func_name(name)
        T.func_attr({"op_pattern": OPAQUE_PATTERN, "tirx.noalias": True})
        buffers = [
            T.arg(f"{'a' if i < len(operands) else 'r'}{i}", T.buffer(t.shape, t.dtype))
            for i, t in enumerate([*operands, *results])
        ]
        built = Kernel(buffers)
        with T.sblock("root"), T.sblock(name):
            T.reads(*[_whole(b) for b in buffers[: len(operands)]])
            T.writes(*[_whole(b) for b in buffers[len(operands) :]])
            yield built
    built.func = builder.get()
    _check_loops(name, built.func)


def _check_loops(name: str, func: tirx.PrimFunc) -> None:
    starts: list[Any] = []
    structural_walk(func.body, (tirx.For, lambda loop: starts.append(loop.min)))
    wrong = [s for s in starts if not (isinstance(s, tirx.IntImm) and s.value == 0)]
    if wrong:
        raise ValueError(
            f"[kernel] loops start at zero, but one of {name} at {wrong[0]}; use tir.between"
        )


def _whole(buffer: Any) -> Any:
    return buffer[tuple(slice(0, extent) for extent in buffer.shape)]


def scratch(shape: Sequence[int], dtype: str) -> Any:
    """A small buffer private to the kernel (on the stack)."""
    return T.alloc_buffer(tuple(shape), dtype)


def store(buffer: Any, index: Sequence[Any], value: Any) -> None:
    """``buffer[index] = value``."""
    T.buffer_store(buffer, value, list(index))


@contextmanager
def loops(shape: Sequence[int]) -> Iterator[list[Any]]:
    """Nested serial loops over ``shape``; gives their variables."""
    with ExitStack() as stack:
        yield [stack.enter_context(T.serial(0, extent)) for extent in shape]


@contextmanager
def between(first: Any, end: Any) -> Iterator[Any]:
    """A serial loop over ``first`` to below ``end``; gives ``first`` plus its variable."""
    with T.serial(end - first) as i:
        yield first + i


def sign(x: Any) -> Any:
    """int32 expression of the sign of a float32: -1, 0 or +1."""
    zero = T.float32(0)
    return T.cast(x > zero, "int32") - T.cast(x < zero, "int32")
