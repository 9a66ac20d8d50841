"""``spike_linear`` and ``spike_conv`` for GPUs: a block is a row, its spikes a mask for threads.

A thread packs 32 inputs into a word; then all threads walk through the set bits together, so that
nothing diverges, and add one row of weights for each. A thread holds up to `HELD` outputs that lie
a block apart: neighbouring threads read neighbouring weights, and `HELD` loads are on their way at
once. Sums run in ascending order of tap and input, as on CPUs, and give the same bits.

Floor: the bytes of the active rows of weights, from the second-level cache where they fit (4 MB on
Orin), and the weights once over 204.8 GB/s where not. Rows in different blocks share no loads: with
dense spikes a GEMM reads less, at a rate below some 10 % this form does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.converters.ops.spike_conv.op import SPIKE_CONV
from millijoule.converters.ops.spike_linear.op import SPIKE_LINEAR
from millijoule.converters.ops.vocabulary import Attrs
from millijoule.targets.kernels.binary.words import BITS, words_of
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.kernels.threads import (
    Registers,
    Shared,
    barrier,
    ceil_div,
    for_all,
    launch,
    when,
)
from millijoule.targets.target import Isa

HELD = 4


def spike_linear_gpu(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """``spike_linear``, float32 or int8."""
    (batch, steps, inputs), (_, outputs) = operands[0].shape, operands[1].shape
    results = SPIKE_LINEAR.results(attrs, operands)
    with tir.kernel(_name("spike_linear", operands[1]), operands, results) as k:
        s, w, bias, y = k.buffers
        rows = SpikeRows(1, inputs, attrs["binary"], results[0].dtype)

        def block(row: Any, columns: Columns) -> None:
            b, t = row // steps, row % steps
            rows.pack(columns, lambda _, i: s[b, t, i])
            columns.fill(lambda o: bias[o])
            rows.add(columns, lambda _, i, o: w[i, o], lambda _, i: s[b, t, i])
            columns.each(lambda o, value: tir.store(y, [b, t, o], value))

        for_rows(batch * steps, outputs, results[0].dtype, block)
    return KernelForm(k.func)


def spike_conv_gpu(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """``spike_conv``, float32 or int8."""
    (batch, steps, channels), (taps, _, outputs) = operands[0].shape, operands[1].shape
    results = SPIKE_CONV.results(attrs, operands)
    out_steps, padding = results[0].shape[1], attrs["padding"]
    with tir.kernel(_name("spike_conv", operands[1]), operands, results) as k:
        s, w, y = k.buffers
        rows = SpikeRows(taps, channels, attrs["binary"], results[0].dtype)

        def block(row: Any, columns: Columns) -> None:
            b, t = row // out_steps, row % out_steps

            def spike(tap: Any, i: Any) -> Any:
                source = t + tap - padding
                if not padding:
                    return s[b, source, i]
                inside = T.And(source >= 0, source < steps)
                return T.if_then_else(inside, s[b, source, i], T.uint8(0))

            rows.pack(columns, spike)
            columns.fill(lambda o: T.cast(0, results[0].dtype))
            rows.add(columns, lambda tap, i, o: w[tap, i, o], spike)
            columns.each(lambda o, value: tir.store(y, [b, t, o], value))

        for_rows(batch * out_steps, outputs, results[0].dtype, block)
    return KernelForm(k.func)


def _name(op: str, weights: TensorType) -> str:
    return f"{op}_{'s8' if weights.dtype == 'int8' else 'f32'}_gpu"


class Columns:
    """The outputs of one thread: ``count`` of them, ``threads`` apart, from ``first`` on."""

    def __init__(
        self, me: Any, threads: int, first: Any, count: int, outputs: int, dtype: str
    ) -> None:
        self.me, self.threads = me, threads
        self.first, self._count, self._outputs = first, count, outputs
        self._sums = Registers(count, dtype)

    def _column(self, i: int) -> Any:
        return self.first + i * self.threads + self.me

    def fill(self, value: Callable[[Any], Any]) -> None:
        """Assign every output ``value(column)``; columns behind the last get that of the last."""
        for i in range(self._count):
            self._sums[i] = value(T.min(self._column(i), self._outputs - 1))

    def add(self, term: Callable[[Any], Any]) -> None:
        """Add ``term(column)`` to every output."""
        for i in range(self._count):
            self._sums[i] = self._sums[i] + term(T.min(self._column(i), self._outputs - 1))

    def apply(self, function: Callable[[Any, Any], Any]) -> None:
        """Assign every output ``function(column, value)``."""
        for i in range(self._count):
            column = T.min(self._column(i), self._outputs - 1)
            self._sums[i] = function(column, self._sums[i])

    def each(self, body: Callable[[Any, Any], None]) -> None:
        """``body(column, value)`` for every output there is."""
        for i in range(self._count):
            with when(self._column(i) < self._outputs):
                body(self._column(i), self._sums[i])


def for_rows(
    rows: int, outputs: int, dtype: str, body: Callable[[Any, Columns], None], held: int = HELD
) -> None:
    """``body(row, columns)``: a block for every row and ``threads``·``held`` outputs."""
    threads = next((t for t in (64, 128) if t * held >= outputs), 128)
    held = min(held, ceil_div(outputs, threads))
    width = threads * held
    with launch([rows, ceil_div(outputs, width)], [threads]) as ((row, bx), (me,)):
        body(row, Columns(me, threads, bx * width, held, outputs, dtype))


class SpikeRows:
    """The spikes of ``parts`` rows of ``inputs`` values as masks, and sums over their set bits."""

    def __init__(self, parts: int, inputs: int, binary: bool, dtype: str) -> None:
        self._parts, self._inputs, self._binary, self._dtype = parts, inputs, binary, dtype
        self._words = words_of(inputs)

    def pack(self, columns: Columns, spike: Callable[[Any, Any], Any]) -> None:
        """Fill the masks; ``spike(part, input)`` is a uint8."""
        self._mask = Shared((self._parts, self._words), "uint32")
        word = Registers(1, "uint32")

        def one(index: Any) -> None:
            part, first = index // self._words, index % self._words * BITS
            word[0] = T.uint32(0)
            with T.serial(0, min(BITS, self._inputs)) as bit:
                i = first + bit
                value = spike(part, i) if self._whole else spike(part, self._clamped(i))
                bits = T.Select(value != T.uint8(0), T.uint32(1), T.uint32(0))
                if not self._whole:
                    bits = T.Select(i < self._inputs, bits, T.uint32(0))
                word[0] = word[0] | (bits << T.cast(bit, "uint32"))
            self._mask[part, index % self._words] = word[0]

        for_all(self._parts * self._words, columns.threads, columns.me, one)
        barrier()

    @property
    def _whole(self) -> bool:
        return self._inputs % BITS == 0

    def _clamped(self, i: Any) -> Any:
        return T.min(i, self._inputs - 1)

    def add(
        self,
        columns: Columns,
        weight: Callable[[Any, Any, Any], Any],
        count: Callable[[Any, Any], Any],
    ) -> None:
        """Add ``weight(part, input, column)``, times ``count(part, input)`` if that is no bit."""
        rest, place, events = (Registers(1, t) for t in ("uint32", "int32", "int32"))
        with T.serial(0, self._parts) as part, T.serial(0, self._words) as w:
            rest[0] = self._mask[part, w]
            events[0] = T.cast(T.popcount(rest[0]), "int32")
            with T.serial(0, events[0]):
                lowest = rest[0] & (T.uint32(0) - rest[0])
                place[0] = w * BITS + T.cast(T.popcount(lowest - T.uint32(1)), "int32")
                rest[0] = rest[0] & (rest[0] - T.uint32(1))

                def term(column: Any) -> Any:
                    value = T.cast(weight(part, place[0], column), self._dtype)
                    if self._binary:
                        return value
                    return value * T.cast(count(part, place[0]), self._dtype)

                columns.add(term)
