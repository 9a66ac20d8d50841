"""Writing values at places that an index tensor names: ``scatter_nd`` and ``scatter_elements``.

Updates are taken in their order, so that results are the same every time: of values that are put at
one place the last stays, sums add up in order. A negative index counts from the end; one that is
outside of its axis is left out, and never writes outside of the result.

Floor: data, indices and updates read once, the result written once. On a GPU the order of updates
to one place must stay, so only what no index decides is shared out: the elements of a row of
``scatter_nd``, the lines of ``scatter_elements``. With short rows that leaves most of a GPU idle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any

import tvm.script.ir_builder.tirx as T
from tvm import tirx

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.kernels.threads import each_element

REDUCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "update": lambda old, new: new,
    "add": lambda old, new: old + new,
    "mul": lambda old, new: old * new,
    "max": T.max,
    "min": T.min,
}


def scatter_nd(
    data: TensorType,
    indices: TensorType,
    updates: TensorType,
    reduction: str,
    *,
    gpu: bool = False,
) -> KernelForm:
    """``y = data; y[indices[n]] ∘= updates[n]``: ``indices [N…, K]``, ``updates [N…, rest]``."""
    depth = indices.shape[-1]
    count, row = math.prod(indices.shape[:-1]), math.prod(data.shape[depth:])
    sizes = data.shape[:depth]
    flat = TensorType((math.prod(sizes), row), data.dtype)
    operands = [
        flat,
        TensorType((count, depth), indices.dtype),
        TensorType((count, row), updates.dtype),
    ]
    with tir.kernel("scatter_nd", operands, [flat]) as k:
        x, index, u, y = k.buffers

        def element(n: Any, r: Any) -> None:
            places = [_from_the_front(index[n, d], size) for d, size in enumerate(sizes)]
            row_at: Any = T.int64(0)
            for place, size in zip(places, sizes, strict=True):
                row_at = row_at * size + place
            with T.If(_inside(places, sizes)), T.Then(), r as column:
                at = (row_at, T.cast(column, "int64"))
                tir.store(y, at, REDUCTIONS[reduction](y[at], u[n, column]))

        def in_turn(r: Any) -> None:
            with T.serial(0, count) as n:
                element(n, nullcontext(r))

        if gpu:
            each_element(flat.shape, lambda at: tir.store(y, at, x[tuple(at)]))
            each_element((row,), lambda at: in_turn(at[0]))
        else:
            _copy(x, y, flat.shape)
            with T.serial(0, count) as n:
                element(n, T.serial(0, row))
    return KernelForm(k.func)


def scatter_elements(
    data: TensorType,
    indices: TensorType,
    updates: TensorType,
    axis: int,
    reduction: str,
    *,
    gpu: bool = False,
) -> KernelForm:
    """``y = data; y[…, indices[p], …] ∘= updates[p]`` along ``axis`` for every position p."""
    with tir.kernel("scatter_elements", [data, indices, updates], [data]) as k:
        x, index, u, y = k.buffers

        def element(position: Sequence[Any]) -> None:
            place = _from_the_front(index[tuple(position)], data.shape[axis])
            at = [T.cast(p, "int64") for p in position]
            at[axis] = place
            with T.If(_inside([place], [data.shape[axis]])), T.Then():
                value = REDUCTIONS[reduction](y[tuple(at)], u[tuple(position)])
                tir.store(y, at, value)

        def line(others: list[Any]) -> None:
            with T.serial(0, indices.shape[axis]) as along:
                element([*others[:axis], along, *others[axis:]])

        if gpu:
            each_element(data.shape, lambda at: tir.store(y, at, x[tuple(at)]))
            each_element((*indices.shape[:axis], *indices.shape[axis + 1 :]), line)
        else:
            _copy(x, y, data.shape)
            with ExitStack() as loops:
                element([loops.enter_context(T.serial(0, d)) for d in indices.shape])
    return KernelForm(k.func)


def _copy(source: Any, target: Any, shape: Sequence[int]) -> None:
    with ExitStack() as loops:
        at = [loops.enter_context(T.serial(0, d)) for d in shape]
        tir.store(target, at, source[tuple(at)])


def _from_the_front(index: Any, size: int) -> Any:
    """``index`` in int64, counted from the front."""
    wide = T.cast(index, "int64")
    return T.Select(wide < T.int64(0), wide + T.int64(size), wide)


def _inside(places: Sequence[Any], sizes: Sequence[int]) -> Any:
    """Whether every place lies on its axis."""
    tests = [
        test
        for place, size in zip(places, sizes, strict=True)
        for test in (place >= T.int64(0), place < T.int64(size))
    ]
    return tirx.all(*tests)
