"""Sums, products, minima and maxima over any axes, accumulated in registers.

Where the reduced axis is contiguous, lanes lie along it: four vectors of partial results, then one
fold from the halves down to a single value. Where a kept axis is contiguous, lanes lie along that.
Either way a result depends on its own elements only, and on the order that their number fixes.
Floor: every byte read once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import tvm
import tvm.script.ir_builder.tirx as T
from tvm import tirx
from tvm_ffi import structural_equal

from millijoule.targets.kernels import simd
from millijoule.targets.passes.schedule import loops as loop
from millijoule.targets.passes.schedule.access import Strides
from millijoule.targets.passes.schedule.nest import Values, lanes_of, open_loops, value_at
from millijoule.targets.passes.schedule.stages import Loop, NoRuleError, substitute
from millijoule.targets.target import Isa

_CHAINS = 4
_OPERATIONS = (tirx.Add, tirx.Mul, tirx.Max, tirx.Min)


class _Reduction:
    """``combine(accumulator, element)`` and the element's expression."""

    def __init__(self, strides: Strides) -> None:
        self.stage = stage = strides.stage
        value = stage.value
        if not isinstance(value, _OPERATIONS):
            raise NoRuleError("a reduction of another kind")
        first, second = self._is_target(value.a), self._is_target(value.b)
        if first == second:
            raise NoRuleError("a reduction that does not read its result once")
        self._kind = type(value)
        self.element = value.b if first else value.a
        self.kept = [item for item in stage.loops if not item.reduced]
        self.reduced = [item for item in stage.loops if item.reduced]
        self.dtype = str(stage.buffer.ty.dtype)

    def _is_target(self, value: Any) -> bool:
        return (
            isinstance(value, tvm.ir.expr.TensorLoad)
            and value.source.same_as(self.stage.buffer)
            and all(
                structural_equal(a, b)
                for a, b in zip(value.indices, self.stage.indices, strict=True)
            )
        )

    def combine(self, accumulator: Any, element: Any) -> Any:
        """One step of the reduction."""
        return self._kind(accumulator, element)

    def accumulate(self, buffer: Any, at: Any, values: Values) -> None:
        """``buffer[at]`` takes the element of given loop variables in."""
        T.buffer_store(buffer, self.combine(buffer[at], value_at(self.element, values)), [at])

    def finish(self, value: Any, values: Values) -> None:
        """Store a result for given kept loop variables."""
        indices = [substitute(i, dict(values)) for i in self.stage.indices]
        T.buffer_store(self.stage.buffer, value, indices)


def emit_reduction(strides: Strides, isa: Isa) -> None:
    """Write the code of a reduction."""
    reduction = _Reduction(strides)
    steps = {item: _element_steps(strides, item) for item in strides.stage.loops}
    along = [r for r in reduction.reduced if steps[r] <= {0, 1} and 1 in steps[r]]
    beside = [
        k
        for k in reduction.kept
        if strides.written(k) == 1 and steps[k] <= {0, 1} and 1 in steps[k]
    ]
    lanes = lanes_of(strides.stage, isa)
    if beside:
        _beside(reduction, max(beside, key=lambda item: item.most), lanes)
    elif along:
        _along(reduction, max(along, key=lambda item: item.most), lanes)
    else:
        _plain(reduction)


def _element_steps(strides: Strides, item: Loop) -> set[int | None]:
    """Strides of what the element reads; the accumulator does not count."""
    return {
        step
        for load, step in zip(strides.loads, strides.read(item), strict=True)
        if not load.source.same_as(strides.stage.buffer)
    }


def _plain(reduction: _Reduction) -> None:
    with open_loops(reduction.stage, reduction.kept) as values:
        total = T.alloc_buffer((1,), reduction.dtype)
        zero = loop.index(0)
        T.buffer_store(total, reduction.stage.init, [zero])
        with _inside(reduction.reduced, values) as inside:
            reduction.accumulate(total, zero, inside)
        reduction.finish(total[zero], values)


@contextmanager
def _inside(items: list[Loop], values: Values) -> Iterator[dict[Any, Any]]:
    """Plain loops inside others; gives the values of all."""
    with ExitStack() as stack:
        yield {
            **values,
            **{item.var: stack.enter_context(loop.serial(0, item.extent)) for item in items},
        }


def _for_vectors(
    sums: list[Any],
    start: Any,
    vectors: list[tuple[int, int]],
    body: Callable[[Any, Any, Any], None],
) -> None:
    """``body(buffer, position, lane)`` for each of ``vectors`` from ``start`` and its buffer."""
    for buffer, (offset, size) in zip(sums, vectors, strict=False):
        loop.for_lanes(start + offset, size, partial(body, buffer))


def _beside(reduction: _Reduction, inner: Loop, lanes: int) -> None:
    """Lanes along the kept loop ``inner``."""
    outer = [item for item in reduction.kept if item is not inner]
    with open_loops(reduction.stage, outer) as values:

        def block(start: Any, width: int) -> None:
            vectors = simd.vectors(width, lanes)
            sums = [T.alloc_buffer((size,), reduction.dtype) for _, size in vectors]
            for buffer, (_, size) in zip(sums, vectors, strict=True):
                _fill(buffer, size, reduction)
            with _inside(reduction.reduced, values) as inside:

                def accumulate(buffer: Any, at: Any, lane: Any) -> None:
                    reduction.accumulate(buffer, lane, {**inside, inner.var: at})

                _for_vectors(sums, start, vectors, accumulate)

            def finish(buffer: Any, at: Any, lane: Any) -> None:
                reduction.finish(buffer[lane], {**values, inner.var: at})

            _for_vectors(sums, start, vectors, finish)

        loop.for_blocks(inner.extent, _CHAINS * lanes, block)


def _fill(buffer: Any, lanes: int, reduction: _Reduction) -> None:
    loop.for_lanes(0, lanes, lambda _, lane: T.buffer_store(buffer, reduction.stage.init, [lane]))


def _along(reduction: _Reduction, inner: Loop, lanes: int) -> None:
    """Lanes along the reduced loop ``inner``."""
    others = [item for item in reduction.reduced if item is not inner]
    chains = max(1, min(_CHAINS, inner.most // lanes))
    with open_loops(reduction.stage, reduction.kept) as values:
        sums = [T.alloc_buffer((lanes,), reduction.dtype) for _ in range(chains)]
        for buffer in sums:
            _fill(buffer, lanes, reduction)
        with _inside(others, values) as inside:

            def accumulate(buffer: Any, at: Any, lane: Any) -> None:
                reduction.accumulate(buffer, lane, {**inside, inner.var: at})

            def block(start: Any, width: int) -> None:
                _for_vectors(sums, start, simd.vectors(width, lanes), accumulate)

            loop.for_blocks(inner.extent, chains * lanes, block)
        reduction.finish(_fold(sums, lanes, reduction), values)


def _fold(sums: list[Any], lanes: int, reduction: _Reduction) -> Any:
    """One value out of vectors of partial ones."""
    while len(sums) > 1:
        half = (len(sums) + 1) // 2
        for a, b in zip(sums[:half], sums[half:], strict=False):
            with loop.vectorized(lanes) as lane:
                T.buffer_store(a, reduction.combine(a[lane], b[lane]), [lane])
        sums = sums[:half]
    whole = sums[0]
    while lanes > 1:
        lanes //= 2
        narrow = T.alloc_buffer((lanes,), reduction.dtype)

        def halve(_: Any, lane: Any, wide: Any = whole, into: Any = narrow, n: int = lanes) -> None:
            T.buffer_store(into, reduction.combine(wide[lane], wide[lane + n]), [lane])

        loop.for_lanes(0, lanes, halve)
        whole = narrow
    return whole[loop.index(0)]
