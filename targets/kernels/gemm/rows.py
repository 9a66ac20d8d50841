"""Operands of a packed GEMM as rows: views, zero padding, and the epilogue behind a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops.symbols import size_of
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.epilogue import Step, apply
from millijoule.targets.kernels.gemm.tile import GemmShape
from millijoule.targets.target import Isa


class View:
    """A row-major buffer seen as [batch, step, column]."""

    def __init__(self, buffer: Any, shape: tuple[int, int, int]) -> None:
        self._buffer, self._shape = buffer, shape
        self._extents = [size_of(d) for d in buffer.shape]

    def index(self, b: Any, t: Any, column: Any) -> list[Any]:
        """Buffer index of one element; the last dimension is the column when ranks differ."""
        if tuple(self._extents) == self._shape:
            return [b, t, column]
        row, index = b * self._shape[1] + t, [column]
        outermost, *inner = self._extents[:-1]
        for extent in reversed(inner):
            index.insert(0, row % extent)
            row = row // extent
        return [row, *index] if outermost != 1 else [0, *index]

    def load(self, b: Any, t: Any, column: Any, lanes: int) -> Any:
        """``lanes`` columns from ``column``."""
        *outer, inner = self.index(b, t, column)
        return simd.load(self._buffer, outer, inner, lanes)

    def prefetch(self, b: Any, t: Any, column: Any) -> None:
        """Ask for the cache line of one element; outside of the buffer it does no harm."""
        simd.prefetch(self._buffer, self.index(b, t, column))

    def save(self, b: Any, t: Any, column: Any, lanes: int, value: Any) -> None:
        """Store ``lanes`` columns from ``column``."""
        *outer, inner = self.index(b, t, column)
        simd.save(self._buffer, outer, inner, lanes, value)


class Writer:
    """Applies the epilogue and stores."""

    def __init__(
        self, y: View, full: Sequence[View], raw: Sequence[Any], steps: Sequence[Step]
    ) -> None:
        self._y, self._full, self._raw, self._steps = y, full, raw, steps

    def write(self, b: Any, t: Any, column: Any, lanes: int, value: Any) -> None:
        """Finish ``lanes`` results from ``column`` of row (b, t)."""

        def operand(step: Step) -> Any:
            assert step.operand is not None
            raw = self._raw[step.operand]
            zero = [0] * (len(raw.shape) - 1)
            if step.spread == "full":
                return self._full[step.operand].load(b, t, column, lanes)
            if step.spread == "column":
                return simd.load(raw, zero, column, lanes)
            return simd.splat(raw[tuple([*zero, 0][: len(raw.shape)])], lanes)

        self._y.save(b, t, column, lanes, apply(self._steps, value, lanes, operand))


def copy_padded(
    source: View, destination: View, shape: GemmShape, isa: Isa, dtype: str = "float32"
) -> None:
    """Copy x, of type ``dtype``, between two borders of zero steps."""
    with T.serial(0, shape.batch) as b:

        def border(t: Any) -> None:
            simd.for_blocks(
                shape.channels,
                isa.lanes,
                lambda c, lanes: destination.save(b, t, c, lanes, simd.zeros(lanes, dtype)),
            )

        with T.serial(0, shape.padding) as p:
            border(p)
            border(p + shape.steps + shape.padding)
        with T.serial(0, shape.steps) as t:
            simd.for_blocks(
                shape.channels,
                isa.lanes,
                lambda c, lanes: destination.save(
                    b,
                    t + shape.padding,
                    c,
                    lanes,
                    simd.convert(source.load(b, t, c, lanes), dtype, lanes),
                ),
            )
