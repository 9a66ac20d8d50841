"""One head of ``binary_attention``: all of its queries against its keys and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.sizes import most
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.binary.attention.context import Context
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
    weighted,
    word,
    words_of,
)
from millijoule.targets.target import Isa

if TYPE_CHECKING:
    from millijoule.targets.kernels.binary.attention import BitAttention

_LOW = (2, 3, 4)  # k_m, k_p and v_p among the columns of ``low``


class HeadScratch:
    """Planned memory of one head, a row for every parallel chunk."""

    def __init__(self, form: BitAttention, buffers: Sequence[Any], isa: Isa) -> None:
        self.keys, self.values, self.sums, self.scores, self.mask, self.bits = buffers[:6]
        self.low = buffers[6] if form.rule == "softmax" else None
        self.padded = simd.padded(form.steps, isa.lanes)  # an expression if that varies

    @staticmethod
    def types(form: BitAttention, chunks: int, isa: Isa) -> tuple[TensorType, ...]:
        """What to plan."""
        steps = most(form.steps)
        # the map reads whole words of keys where it does not know which is the last
        padded = simd.padded(steps, isa.lanes if steps == form.steps else BITS)
        dimensions = simd.padded(form.size, isa.lanes)
        low = [TensorType((chunks, len(_LOW), padded), "float32")]
        return (
            TensorType((chunks, 2, words_of(form.size), padded), "uint32"),
            TensorType((chunks, 2, words_of(steps), dimensions), "uint32"),
            TensorType((chunks, padded), "int32"),
            TensorType((chunks, padded), "float32"),
            TensorType((chunks, padded), "float32"),
            TensorType((chunks, words_of(steps)), "uint32"),
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
    turn_keys(keys, room.keys, chunk, first_row, first_word, form.steps, room.padded)
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
    with T.serial(0, form.steps) as i:
        _scores(form, q, room, first_row + i, first_word, chunk, isa)
        rule.prepare((b, i))
        _map(form, rule, room.bits, outs.get("map"), (chunk, b, h, i), isa)
        estimate = rule.estimate(room.bits) if isinstance(rule, SoftmaxRule) else None
        context = Context(form, room, chunk, scales, estimate, isa)
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
    if not isinstance(form.steps, int) or room.padded > form.steps:
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
            T.buffer_store(total, total[at] + weighted(both, differ, lanes), [at])
        simd.save(room.sums, [chunk], j, lanes, total[at])


def _map(form: BitAttention, rule: Any, bits: Any, out: Any, at: tuple[Any, ...], isa: Isa) -> None:
    """The words of row ``at`` = (chunk, b, h, i) of the map, and its bytes if ``out`` is there."""
    chunk, *row = at
    steps: Any = form.steps
    if not isinstance(steps, int):
        _varying_map(steps, rule, bits, out, at, isa)
        return

    def keys(start: Any, width: int) -> None:
        vectors = simd.vectors(simd.padded(width, isa.lanes), isa.lanes)
        value = gather_word(vectors, lambda v: rule.decide(start + v[0], v[1]), isa.lanes)
        valid = (1 << width) - 1
        tir.store(bits, [chunk, start // BITS], value if width == BITS else value & word(valid))
        for offset, lanes in simd.vectors(width if out is not None else 0, isa.lanes):
            bytes_ = lanes_of_word(bits[chunk, start // BITS], offset, lanes)
            simd.save(out, row, start + offset, lanes, simd.convert(bytes_, "uint8", lanes))

    simd.for_blocks(steps, BITS, keys)


def _varying_map(steps: Any, rule: Any, bits: Any, out: Any, at: tuple[Any, ...], isa: Isa) -> None:
    """`_map` of a number of keys known only when the program runs: whole words, then the bytes.

    Behind the last key a word is made of whatever lies there, and masked.
    """
    chunk, *row = at
    vectors = simd.vectors(BITS, isa.lanes)
    with T.serial(0, words_of(steps)) as i:
        value = gather_word(vectors, lambda v: rule.decide(i * BITS + v[0], v[1]), isa.lanes)
        behind = T.cast(BITS - T.min(steps - i * BITS, T.int64(BITS)), "uint32")
        tir.store(bits, [chunk, i], value & (word((1 << BITS) - 1) >> behind))
    if out is None:
        return
    with T.serial(0, steps) as j:
        bit = (bits[chunk, j // BITS] >> T.cast(j % BITS, "uint32")) & word(1)
        tir.store(out, [*row, j], T.cast(bit, "uint8"))
