"""One head of ``binary_attention``: all of its queries against its keys and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.binary.attention.rules import (
    NEVER,
    BoolRule,
    Row,
    SoftmaxRule,
    ThresholdRule,
)
from millijoule.targets.kernels.binary.attention.transposed import turn_keys, turn_values
from millijoule.targets.kernels.binary.planes import NEGATIVE, NONZERO, Planes
from millijoule.targets.kernels.binary.words import (
    BITS,
    gather_word,
    lanes_of_word,
    popcount,
    word,
    words_of,
)
from millijoule.targets.target import Isa

if TYPE_CHECKING:
    from millijoule.targets.kernels.binary.attention import BitAttention

_LOW = (2, 3, 4)  # k_m, k_p and v_p among the columns of ``low``


def _padded(count: int, lanes: int) -> int:
    return -(-count // lanes) * lanes


class HeadScratch:
    """Planned memory of one head, a row for every parallel chunk."""

    def __init__(self, form: BitAttention, buffers: Sequence[Any], isa: Isa) -> None:
        self.keys, self.values, self.sums, self.scores, self.mask = buffers[:5]
        self.low = buffers[5] if form.rule == "softmax" else None
        self.padded = _padded(form.steps, isa.lanes)

    @staticmethod
    def types(form: BitAttention, chunks: int, isa: Isa) -> tuple[TensorType, ...]:
        """What to plan."""
        padded = _padded(form.steps, isa.lanes)
        dimensions = _padded(form.size, isa.lanes)
        low = [TensorType((chunks, len(_LOW), padded), "float32")]
        return (
            TensorType((chunks, 2, words_of(form.size), padded), "uint32"),
            TensorType((chunks, 2, words_of(form.steps), dimensions), "uint32"),
            TensorType((chunks, padded), "int32"),
            TensorType((chunks, padded), "float32"),
            TensorType((chunks, padded), "float32"),
            *(low if form.rule == "softmax" else []),
        )


def head(
    form: BitAttention,
    planes: Sequence[Planes],
    others: Sequence[Any],
    outs: Mapping[str, Any],
    room: HeadScratch,
    at: tuple[Any, Any, Any],
    isa: Isa,
) -> None:
    """Head ``at`` = (chunk, batch, head); ``others``: low, scales and mask where there are any."""
    chunk, b, h = at
    first_row, first_word = b * form.steps, h * words_of(form.size)
    q, keys, values = planes
    turn_keys(keys, room.keys, chunk, first_row, first_word, form.steps)
    turn_values(values, room.values, chunk, first_row, first_word, form.steps, isa.lanes)
    mask = others[-1] if form.masked else None
    low, scales = (others[0], others[1]) if form.rule == "softmax" else (None, None)
    _copy_padded(
        lambda j: T.float32(0) if mask is None else mask[b, j], room.mask, [chunk], form, room
    )
    for slot, column in enumerate(_LOW if low is not None else ()):
        _copy_padded(
            lambda j, c=column: others[0][b, j, c], room.low, [chunk, slot], form, room, 0.0
        )
    row = Row(room.sums, room.scores, room.mask, chunk, form.steps, room.padded, isa.lanes)
    rule = _rule(form, row, low, room.low, scales)
    bits = T.alloc_buffer((words_of(form.steps),), "uint32")
    with T.serial(0, form.steps) as i:
        _scores(form, q, room, first_row + i, first_word, chunk, isa)
        rule.prepare((b, i))
        _map(form, rule, bits, outs.get("map"), (b, h, i), isa)
        estimate = rule.estimate(bits) if isinstance(rule, SoftmaxRule) else None
        context = _Context(form, room.values, bits, chunk, scales, estimate, isa)
        context.write(outs, b, i, h)


def _copy_padded(
    source: Any,
    target: Any,
    index: list[Any],
    form: BitAttention,
    room: HeadScratch,
    pad: float = NEVER,
) -> None:
    with T.serial(0, form.steps) as j:
        tir.store(target, [*index, j], source(j))
    if room.padded > form.steps:
        with T.serial(0, room.padded - form.steps) as j:
            tir.store(target, [*index, form.steps + j], T.float32(pad))


def _rule(form: BitAttention, row: Row, low: Any, turned: Any, scales: Any) -> Any:
    if form.rule == "softmax":
        return SoftmaxRule(row, form.size, low, turned, scales)
    return {"bool": BoolRule, "threshold": ThresholdRule}[form.rule](row, form.size)


def _scores(
    form: BitAttention,
    q: Planes,
    room: HeadScratch,
    row: Any,
    first_word: Any,
    chunk: Any,
    isa: Isa,
) -> None:
    """Integer scores of one query with every key."""
    lanes = isa.lanes
    total = T.alloc_buffer((lanes,), "int32")
    at = simd.lanes_at(0, lanes)
    with T.serial(0, room.padded // lanes) as i:
        j = i * lanes
        T.buffer_store(total, simd.zeros(lanes, "int32"), [at])
        with T.serial(0, words_of(form.size)) as w:
            negative, nonzero = (
                (
                    q.get(row, plane, first_word + w, lanes),
                    simd.load(room.keys, [chunk, plane, w], j, lanes),
                )
                for plane in (NEGATIVE, NONZERO)
            )
            both = nonzero[0] & nonzero[1]
            differ = (negative[0] ^ negative[1]) & both
            T.buffer_store(total, total[at] + _weighted(both, differ, lanes), [at])
        simd.save(room.sums, [chunk], j, lanes, total[at])


def _weighted(all_: Any, minus: Any, lanes: int) -> Any:
    """pop(all) − 2·pop(minus)."""
    twice = popcount(minus, lanes) << simd.splat(T.int32(1), lanes)
    return popcount(all_, lanes) - twice


def _map(
    form: BitAttention, rule: Any, bits: Any, out: Any, at: tuple[Any, Any, Any], isa: Isa
) -> None:
    """The words of one row of the map, and its bytes if ``out`` is there."""

    def keys(start: Any, width: int) -> None:
        vectors = simd.vectors(_padded(width, isa.lanes), isa.lanes)
        value = gather_word(vectors, lambda v: rule.decide(start + v[0], v[1]), isa.lanes)
        valid = (1 << width) - 1
        tir.store(bits, [start // BITS], value if width == BITS else value & word(valid))
        for offset, lanes in simd.vectors(width if out is not None else 0, isa.lanes):
            bytes_ = lanes_of_word(bits[start // BITS], offset, lanes)
            simd.save(out, [*at], start + offset, lanes, simd.convert(bytes_, "uint8", lanes))

    simd.for_blocks(form.steps, BITS, keys)


class _Context:
    """The context of one query: counts of the map's words with the turned values."""

    def __init__(
        self,
        form: BitAttention,
        values: Any,
        bits: Any,
        chunk: Any,
        scales: Any,
        estimate: Any,
        isa: Isa,
    ) -> None:
        self._form, self._values, self._bits = form, values, bits
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
            for offset, _ in simd.vectors(_padded(size, lanes), lanes):
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
            attended = simd.splat(self._bits[t], lanes)
            negative, nonzero = (
                attended & simd.load(self._values, [self._chunk, plane, t], start, lanes)
                for plane in (NEGATIVE, NONZERO)
            )
            T.buffer_store(total, total[at] + _weighted(nonzero, negative, lanes), [at])
        value = simd.convert(total[at], "float32", lanes)
        if self._added is None:
            return value
        factor = simd.splat(self._scales[1] * self._scales[2], lanes)
        return value * factor + simd.splat(self._added[0], lanes)
