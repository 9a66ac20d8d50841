"""Sums of the weight rows of active inputs, for blocks of output columns held in registers.

``sum_rows`` is the inner loop of every spike-driven layer. Floors, per event and column:

- float32 and int8 on a vector unit: one load and one addition per vector (int8 is widened by the
  load, or by the addition on NEON);
- int8 on a Cortex-M with DSP: per four columns one load of a word and two SXTAB16, each adding two
  sign-extended bytes to two 16-bit sums: 0.75 instructions, 0.625 with double loads. Per event and
  block of 16 columns come its index, its address and its share of the loop.

16-bit sums hold 256 rows of int8: beyond that they are added to 32-bit sums and start again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd
from millijoule.targets.kernels.events import EventList
from millijoule.targets.kernels.spike.words import COLUMNS, PairSums, WordRows
from millijoule.targets.target import Isa

# Vectors of output columns held in registers while the event list is walked.
HELD_VECTORS = {"avx512": 16, "avx2": 8, "sse2": 8, "neon": 16, "mve": 4, "dsp": 16, "scalar": 4}
ROWS_OF_16_BITS = 256  # 256 · −128 = −32768, and 256 · 127 < 32768

Load = Callable[[Any, int], Any]  # (column, lanes) → vector
Rows = Callable[[Any, Any, int], Any]  # (event index, column, lanes) → vector
Save = Callable[[Any, int, Any], None]  # (column, lanes, value)


def takes_words(isa: Isa, dtype: str, binary: bool) -> bool:
    """Whether `sum_rows` wants its weights as `WordRows`; ``dtype`` is the weights'."""
    return isa.int8 == "dsp" and dtype == "int8" and binary


def sum_rows(
    dtype: str,
    outputs: int,
    isa: Isa,
    events: EventList,
    initial: Load,
    weights: Rows | WordRows,
    save: Save,
    row_of: Callable[[Any], Any] | None = None,
) -> None:
    """``save(initial + Σ over events of count·weight)`` for all columns; ``dtype`` is the result's.

    With "float32" weights are float32; with "int32" they are int8 and sums exact. ``row_of`` maps
    an event to its row of weights, by default the row of the same index.
    """
    if row_of is not None:
        events = events.mapped(row_of)
    if isinstance(weights, WordRows):

        def pairs(start: Any, width: int, first: Any, last: Any) -> Callable[[int, int], Any]:
            sums = PairSums(width)
            events.for_each(lambda i, _: sums.add(weights, i, start, width), first, last)
            return lambda column, _: sums.get(column)

        _in_16_bits(outputs, COLUMNS, 1, events, initial, pairs, save)
    elif dtype == "int32" and isa.lanes > 1 and events.binary:

        def halves(start: Any, width: int, first: Any, last: Any) -> Callable[[int, int], Any]:
            sums = simd.Accumulators(1, width, 2 * isa.lanes, "int16")
            _add_rows(sums, "int16", events, weights, start, first, last)
            return lambda at, lanes: simd.convert(sums.part(0, at, lanes), "int32", lanes)

        held = HELD_VECTORS[isa.name] * 2 * isa.lanes
        _in_16_bits(outputs, held, isa.lanes, events, initial, halves, save)
    else:

        def columns(start: Any, width: int) -> None:
            sums = simd.Accumulators(1, width, isa.lanes, dtype)
            _add_rows(sums, dtype, events, weights, start, initial=initial)
            for vec in sums.vectors:
                save(start + vec[0], vec[1], sums.get(0, vec))

        simd.for_blocks(outputs, HELD_VECTORS[isa.name] * isa.lanes, columns)


def _add_rows(
    sums: simd.Accumulators,
    dtype: str,
    events: EventList,
    weights: Rows,
    start: Any,
    first: Any = 0,
    last: Any = None,
    initial: Load | None = None,
) -> None:
    """Sums of type ``dtype`` of the rows of events ``first`` to ``last``; counts are multiplied."""
    sums.fill(
        lambda _, vec: initial(start + vec[0], vec[1]) if initial else simd.zeros(vec[1], dtype)
    )

    def add(index: Any, count: Any) -> None:
        for vec in sums.vectors:
            row = simd.convert(weights(index, start + vec[0], vec[1]), dtype, vec[1])
            if count is not None:
                row = row * simd.splat(count, vec[1])
            sums.set(0, vec, sums.get(0, vec) + row)

    events.for_each(add, first, last)


def _in_16_bits(
    outputs: int,
    held: int,
    lanes: int,
    events: EventList,
    initial: Load,
    segment: Callable[[Any, int, Any, Any], Callable[[int, int], Any]],
    save: Save,
) -> None:
    """Blocks of ``held`` columns, at most `ROWS_OF_16_BITS` events at a time.

    ``segment(start, width, first, last)`` sums some events in 16 bits and returns a function
    (offset, lanes) → int32 values.
    """

    def columns(start: Any, width: int) -> None:
        if events.capacity <= ROWS_OF_16_BITS:
            value = segment(start, width, 0, events.length)
            for at, size in simd.vectors(width, lanes):
                save(start + at, size, initial(start + at, size) + value(at, size))
            return
        total = simd.Accumulators(1, width, lanes, "int32")
        total.fill(lambda _, vec: initial(start + vec[0], vec[1]))
        with T.serial(0, (events.length + (ROWS_OF_16_BITS - 1)) // ROWS_OF_16_BITS) as s:
            first = s * ROWS_OF_16_BITS
            value = segment(start, width, first, T.min(first + ROWS_OF_16_BITS, events.length))
            for vec in total.vectors:
                total.set(0, vec, total.get(0, vec) + value(*vec))
        for vec in total.vectors:
            save(start + vec[0], vec[1], total.get(0, vec))

    simd.for_blocks(outputs, held, columns)
