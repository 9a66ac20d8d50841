"""From sums to results: scale, bias, epilogue, and the floats or planes that leave the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd
from millijoule.targets.kernels.binary.planes import Planes, keep_above
from millijoule.targets.kernels.binary.words import BITS
from millijoule.targets.kernels.epilogue import Step, apply
from millijoule.targets.kernels.gemm.rows import View
from millijoule.targets.target import Isa


class ResultWriter:
    """Finishes one vector of results after another, in ascending columns of a row.

    ``floats`` and ``planes`` are where results go, None for nowhere. Operands of ``steps`` are
    ``extra``; ``shape`` is (1, rows, outputs). ``above``: planes take values up to it for 0.
    """

    def __init__(
        self,
        scale: Any,
        bias: Any,
        extra: Sequence[Any],
        steps: Sequence[Step],
        shape: tuple[int, int, int],
        floats: Any = None,
        planes: Any = None,
        above: float | None = None,
    ) -> None:
        self._scale, self._bias = scale, bias
        self._extra, self._steps = extra, steps
        self._views = [View(b, shape) for b in extra]
        self._floats = None if floats is None else View(floats, shape)
        self._planes = None if planes is None else Planes(planes)
        self._above = above

    def write_row(
        self, row: Any, start: Any, values: Sequence[tuple[int, int, Any]], isa: Isa
    ) -> None:
        """Finish ``values``: (offset, lanes, sums as float32 or int32) from column ``start``."""
        if self._planes is None:
            for offset, lanes, sums in values:
                self._save(
                    row, start + offset, lanes, self._value(row, start + offset, lanes, sums)
                )
            return
        end = values[-1][0] + values[-1][1]
        kept = {}
        for offset, lanes, sums in values:
            kept[offset, lanes] = T.alloc_buffer((lanes,), "float32")
            at = simd.lanes_at(0, lanes)
            T.buffer_store(kept[offset, lanes], self._value(row, start + offset, lanes, sums), [at])
            if self._floats is not None:
                self._save(row, start + offset, lanes, kept[offset, lanes][at])
        for first in range(0, end, BITS):
            self._planes.put_values(
                row,
                start // BITS + first // BITS,
                min(BITS, end - first),
                lambda v, first=first: self._sign(_part(kept, first + v[0], v[1]), v[1]),
                isa,
            )

    def _sign(self, value: Any, lanes: int) -> Any:
        return value if self._above is None else keep_above(value, self._above, lanes)

    def _value(self, row: Any, column: Any, lanes: int, sums: Any) -> Any:
        if str(sums.ty.dtype).startswith("int32"):
            sums = simd.convert(sums, "float32", lanes)
        value = sums * self._factor(column, lanes) + simd.load(self._bias, [], column, lanes)
        return apply(
            self._steps, value, lanes, lambda step: self._operand(step, row, column, lanes)
        )

    def _factor(self, column: Any, lanes: int) -> Any:
        if int(self._scale.shape[0]) == 1:
            return simd.splat(self._scale[0], lanes)
        return simd.load(self._scale, [], column, lanes)

    def _operand(self, step: Step, row: Any, column: Any, lanes: int) -> Any:
        assert step.operand is not None
        raw = self._extra[step.operand]
        zero = [0] * (len(raw.shape) - 1)
        if step.spread == "full":
            return self._views[step.operand].load(0, row, column, lanes)
        if step.spread == "column":
            return simd.load(raw, zero, column, lanes)
        return simd.splat(raw[tuple([*zero, 0][: len(raw.shape)])], lanes)

    def _save(self, row: Any, column: Any, lanes: int, value: Any) -> None:
        assert self._floats is not None
        self._floats.save(0, row, column, lanes, value)


def _part(kept: dict[tuple[int, int], Any], start: int, lanes: int) -> Any:
    """``lanes`` values from ``start``, which lie in one of the ``kept`` vectors."""
    offset, size = next(v for v in kept if v[0] <= start < v[0] + v[1])
    return kept[offset, size][simd.lanes_at(start - offset, lanes)]
