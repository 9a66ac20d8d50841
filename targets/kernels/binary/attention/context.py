"""The context of a query: how many attended values of each sign there are, by dimension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.binary.planes import NEGATIVE, NONZERO, Planes
from millijoule.targets.kernels.binary.words import BITS, weighted, words_of
from millijoule.targets.target import Isa

if TYPE_CHECKING:
    from millijoule.targets.kernels.binary.attention import BitAttention
    from millijoule.targets.kernels.binary.attention.head import HeadScratch


class Context:
    """The context of one query: counts of the map's words with the turned values."""

    def __init__(
        self,
        form: BitAttention,
        room: HeadScratch,
        chunk: Any,
        scales: Any,
        estimate: Any,
        isa: Isa,
    ) -> None:
        self._form, self._values, self._bits = form, room.values, room.bits
        self._chunk, self._isa, self._scales = chunk, isa, scales
        self._added = None
        if estimate is not None:
            self._added = T.alloc_buffer((1,), "float32")
            tir.store(self._added, [0], scales[1] * estimate)

    def write(self, outs: Mapping[str, Any], b: Any, i: Any, h: Any) -> None:
        """Floats and planes, as far as they leave."""
        form, lanes = self._form, self._isa.lanes
        planes = Planes(outs["planes"]) if "planes" in outs else None
        width = BITS if planes is not None else lanes

        def block(start: Any, size: int) -> None:
            kept = {}
            for offset, _ in simd.vectors(simd.padded(size, lanes), lanes):
                kept[offset] = T.alloc_buffer((lanes,), "float32")
                value = self._dimensions(start + offset)
                T.buffer_store(kept[offset], value, [simd.lanes_at(0, lanes)])
                if "floats" in outs:
                    count = min(lanes, size - offset)
                    part = kept[offset][simd.lanes_at(0, count)]
                    simd.save(outs["floats"], [b, i], h * form.size + start + offset, count, part)
            if planes is not None:
                index = h * words_of(form.size) + start // BITS
                row = b * form.steps + i
                planes.put_values(
                    row,
                    index,
                    size,
                    lambda v: kept[v[0] // lanes * lanes][simd.lanes_at(v[0] % lanes, v[1])],
                    self._isa,
                )

        simd.for_blocks(form.size, width, block)

    def _dimensions(self, start: Any) -> Any:
        """Vectors of floats from dimension ``start``."""
        lanes = self._isa.lanes
        total = T.alloc_buffer((lanes,), "int32")
        at = simd.lanes_at(0, lanes)
        T.buffer_store(total, simd.zeros(lanes, "int32"), [at])
        with T.serial(0, words_of(self._form.steps)) as t:
            attended = simd.splat(self._bits[self._chunk, t], lanes)
            negative, nonzero = (
                attended & simd.load(self._values, [self._chunk, plane, t], start, lanes)
                for plane in (NEGATIVE, NONZERO)
            )
            T.buffer_store(total, total[at] + weighted(nonzero, negative, lanes), [at])
        value = simd.convert(total[at], "float32", lanes)
        if self._added is None:
            return value
        factor = simd.splat(self._scales[1] * self._scales[2], lanes)
        return value * factor + simd.splat(self._added[0], lanes)
