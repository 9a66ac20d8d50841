"""Scheduled ``lmu_memory``, ``lmu_step`` and ``lmu_step_fixed``: rows of the response added.

With binary u only the rows of past spikes are read: about rate × t rows of M values at step t. With
real u every row is read and multiplied: (N+1)/2 rows per step on average. The recurrence, for
streams longer than the response, is M² multiply-adds; with int16 matrix and int32 memory these are
one load and one SMLAL each on a Cortex-M.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.converters.ops.lmu_memory.op import (
    LMU_MEMORY,
    LMU_STEP,
    LMU_STEP_FIXED,
    MEMORY_BITS,
)
from millijoule.converters.ops.vocabulary import Attrs, VocabularyOp
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.events import EventList
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.kernels.spike.sums import HELD_VECTORS, sum_rows, takes_words
from millijoule.targets.kernels.spike.words import WordRows, pack_words, packed_type
from millijoule.targets.target import Isa

Put = Callable[[Any, int, Any], None]  # (column, lanes, value)


def lmu_memory(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """Whole sequence, finite form; float32, or int8 with binary u."""
    batch, steps = operands[0].shape
    form = _Form(LMU_MEMORY, attrs, operands, isa, steps)
    with form.kernel() as k:
        u, impulse, m = k.buffers[:3]
        with T.serial(0, batch) as b:
            events = form.events(k.buffers[3:])
            if events:
                events.clear()
            with T.serial(0, steps) as t:
                if events:
                    events.append(lambda i, lanes: u[b, t], 1, base=t)

                def put(column: Any, lanes: int, value: Any, b: Any = b, t: Any = t) -> None:
                    simd.save(m, [b, t], column, lanes, value)

                def value(s: Any, b: Any = b) -> Any:
                    return u[b, s]

                form.finite(impulse, events, value, t, put)
    return form.built(k.func)


def lmu_step(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """One step of a float32 stream: finite form while it is exact, then the recurrence."""
    return _step(LMU_STEP, attrs, operands, isa)


def lmu_step_fixed(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """One step of an integer stream."""
    return _step(LMU_STEP_FIXED, attrs, operands, isa)


class _Form:
    """What the kernels share: types, packed weights, event list."""

    def __init__(
        self,
        op: VocabularyOp,
        attrs: Attrs,
        operands: Sequence[TensorType],
        isa: Isa,
        length: int,
    ) -> None:
        self._op, self._isa = op, isa
        self._operands, self._results = list(operands), op.results(attrs, operands)
        (self._length, self._order), weights = operands[1].shape, operands[1].dtype
        self._binary, self._integer = operands[0].dtype == "uint8", weights == "int8"
        self._scratch = EventList.scratch(1, length, True, isa) if self._binary else ()
        self._packed = self._binary and takes_words(isa, weights, binary=True)
        if self._packed:
            self._operands[1] = packed_type(operands[1])

    def kernel(self) -> Any:
        """The kernel to be filled."""
        kind = "binary" if self._binary else "real"
        name = f"{self._op.name}_{kind}_{'s8' if self._integer else 'f32'}_{self._isa.name}"
        return tir.kernel(name, self._operands, [*self._results, *self._scratch])

    def built(self, func: Any) -> KernelForm:
        """The finished form."""
        return KernelForm(func, self._scratch, {1: pack_words} if self._packed else {})

    def events(self, buffers: list[Any]) -> EventList | None:
        """The event list, if inputs are binary."""
        return EventList(buffers, 0, True, self._isa) if self._binary else None

    def finite(
        self,
        impulse: Any,
        events: EventList | None,
        u: Callable[[Any], Any],
        now: Any,
        put: Put,
    ) -> None:
        """Σ_{s ≤ now} H[now − s]·u[s] in ascending s, by blocks of columns held in registers."""
        if events is None:
            _dense_finite(self._order, self._isa, impulse, u, now, put)
            return

        def save(column: Any, lanes: int, value: Any) -> None:
            bits = simd.splat(T.int32(MEMORY_BITS), lanes)
            put(column, lanes, T.shift_left(value, bits) if self._integer else value)

        dtype = self._results[0].dtype
        rows = (
            WordRows(impulse, self._length)
            if self._packed
            else lambda i, column, lanes: simd.load(impulse, [i], column, lanes)
        )
        sum_rows(
            dtype,
            self._order,
            self._isa,
            events,
            initial=lambda _, lanes: simd.zeros(lanes, dtype),
            weights=rows,
            save=save,
            row_of=lambda s: now - s,
        )


def _step(op: VocabularyOp, attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    (length, order), batch = operands[1].shape, operands[0].shape[0]
    form = _Form(op, attrs, operands, isa, length)
    with form.kernel() as k:
        count = len(operands)
        u, impulse, a_t, *system, history_in, m_in, t_in, valid = k.buffers[:count]
        m_out, history, m, t_out = k.buffers[count : count + 4]
        now, runs = t_in[0], valid[0] != 0
        tir.store(t_out, [0], now + T.Select(runs, 1, 0))
        with T.serial(0, batch) as b:

            def put(column: Any, lanes: int, value: Any, b: Any = b) -> None:
                simd.save(m_out, [b, 0], column, lanes, value)
                simd.save(m, [b], column, lanes, value)

            with T.serial(0, length) as s:
                tir.store(history, [b, s], history_in[b, s])
            with T.If(runs):
                with T.Then(), T.If(now < length):
                    with T.Then():
                        tir.store(history, [b, now], u[b, 0])
                        events = form.events(k.buffers[count + 4 :])
                        if events is not None:
                            events.clear()
                            events.append(
                                lambda s, lanes: simd.load(history, [b], s, lanes), length, base=0
                            )
                        form.finite(impulse, events, lambda s: history[b, s], now, put)
                    with T.Else():
                        run = _recurrence if op is LMU_STEP else _recurrence_fixed
                        run(order, isa, u[b, 0], a_t, system, m_in, b, put)
                with T.Else():
                    simd.for_blocks(
                        order,
                        isa.lanes,
                        lambda start, lanes: put(start, lanes, simd.load(m_in, [b], start, lanes)),
                    )
    return form.built(k.func)


def _dense_finite(
    order: int, isa: Isa, impulse: Any, u: Callable[[Any], Any], now: Any, put: Put
) -> None:
    """The finite form for real u: every row is multiplied."""

    def columns(start: Any, width: int) -> None:
        acc = simd.Accumulators(1, width, isa.lanes)
        acc.fill(lambda _, vec: simd.zeros(vec[1]))
        # in a variable, or TVM folds it into every vector's address instead of computing a row once
        lag = tir.scratch([1], "int32")
        with T.serial(0, now + 1) as s:
            tir.store(lag, [0], now - s)
            for vec in acc.vectors:
                row = simd.load(impulse, [lag[0]], start + vec[0], vec[1])
                acc.set(0, vec, acc.get(0, vec) + row * simd.splat(u(s), vec[1]))
        for vec in acc.vectors:
            put(start + vec[0], vec[1], acc.get(0, vec))

    simd.for_blocks(order, HELD_VECTORS[isa.name] * isa.lanes, columns)


def _recurrence(
    order: int, isa: Isa, u: Any, a_t: Any, system: Sequence[Any], m_in: Any, b: Any, put: Put
) -> None:
    """A m + B u, the matrix stored transposed so that its columns are contiguous."""
    (b_in,) = system

    def columns(start: Any, width: int) -> None:
        acc = simd.Accumulators(1, width, isa.lanes)
        drive = T.cast(u, "float32")
        acc.fill(
            lambda _, vec: simd.load(b_in, [], start + vec[0], vec[1]) * simd.splat(drive, vec[1])
        )
        with T.serial(0, order) as j:
            for vec in acc.vectors:
                a = simd.load(a_t, [j], start + vec[0], vec[1])
                acc.set(0, vec, acc.get(0, vec) + a * simd.splat(m_in[b, j], vec[1]))
        for vec in acc.vectors:
            put(start + vec[0], vec[1], acc.get(0, vec))

    simd.for_blocks(order, HELD_VECTORS[isa.name] * isa.lanes, columns)


def _recurrence_fixed(
    order: int, isa: Isa, u: Any, a_t: Any, system: Sequence[Any], m_in: Any, b: Any, put: Put
) -> None:
    """The same with sums of 64 bits, rounded and shifted per column."""
    right, b_in = system
    lanes = 1 if isa.name == "mve" else isa.lanes  # MVE has no lanes of 64 bits, its core SMLAL

    def columns(start: Any, width: int) -> None:
        acc = simd.Accumulators(1, width, lanes, "int64")

        def half(_: int, vec: tuple[int, int]) -> Any:
            one = simd.splat(T.int64(1), vec[1])
            shift = simd.convert(simd.load(right, [], start + vec[0], vec[1]), "int64", vec[1])
            return T.shift_left(one, shift - one)

        acc.fill(half)
        with T.serial(0, order) as j:
            memory = T.cast(m_in[b, j], "int64")
            for vec in acc.vectors:
                a = simd.convert(simd.load(a_t, [j], start + vec[0], vec[1]), "int64", vec[1])
                acc.set(0, vec, acc.get(0, vec) + a * simd.splat(memory, vec[1]))
        for vec in acc.vectors:
            column, size = start + vec[0], vec[1]
            shift = simd.convert(simd.load(right, [], column, size), "int64", size)
            carried = simd.convert(T.shift_right(acc.get(0, vec), shift), "int32", size)
            drive = simd.splat(T.cast(u, "int32"), size) * simd.load(b_in, [], column, size)
            put(column, size, carried + drive)

    simd.for_blocks(order, lanes * (2 if lanes > 1 else 3), columns)
