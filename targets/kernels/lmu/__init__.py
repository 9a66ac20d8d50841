"""Scheduled ``lmu_memory`` and ``lmu_step``: rows of the impulse response added into registers.

With binary u only the rows of past spikes are read: about rate × t rows of M floats at step t. With
real u every row is read and multiplied: (N+1)/2 rows per step on average.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.converters.ops.lmu_memory.op import LMU_MEMORY, LMU_STEP
from millijoule.converters.ops.vocabulary import Attrs
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.events import EventList
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.kernels.spike.sums import HELD_VECTORS
from millijoule.targets.target import Isa


def lmu_memory_f32(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """Whole sequence, finite form."""
    (batch, steps), (_, order) = operands[0].shape, operands[1].shape
    results = LMU_MEMORY.results(attrs, operands)
    binary = operands[0].dtype == "uint8"
    scratch = EventList.scratch(1, steps, True, isa) if binary else ()
    suffix = "binary" if binary else "real"
    with tir.kernel(f"lmu_memory_{suffix}_f32_{isa.name}", operands, [*results, *scratch]) as k:
        u, impulse, m = k.buffers[:3]
        with T.serial(0, batch) as b:
            events = EventList(k.buffers[3:], 0, True, isa) if binary else None
            if events:
                events.clear()
            with T.serial(0, steps) as t:
                if events:
                    events.append(lambda i, lanes: u[b, t], 1, base=t)
                _finite_form(
                    order,
                    isa,
                    events,
                    lambda s: u[b, s],
                    t,
                    lambda lag, column, lanes: simd.load(impulse, [lag], column, lanes),
                    lambda column, lanes, value: simd.save(m, [b, t], column, lanes, value),
                )
    return KernelForm(k.func, scratch)


def lmu_step_f32(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """One step of a stream: finite form while it is exact, then the recurrence."""
    (length, order), batch = operands[1].shape, operands[0].shape[0]
    results = LMU_STEP.results(attrs, operands)
    binary = operands[0].dtype == "uint8"
    scratch = EventList.scratch(1, length, True, isa) if binary else ()
    suffix = "binary" if binary else "real"
    with tir.kernel(f"lmu_step_{suffix}_f32_{isa.name}", operands, [*results, *scratch]) as k:
        u, impulse, a_t, b_in, history_in, m_in, t_in, valid = k.buffers[:8]
        m_out, history, m, t_out = k.buffers[8:12]
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
                        events = None
                        if binary:
                            events = EventList(k.buffers[12:], 0, True, isa)
                            events.clear()
                            events.append(
                                lambda s, lanes: simd.load(history, [b], s, lanes), length, base=0
                            )
                        _finite_form(
                            order,
                            isa,
                            events,
                            lambda s: history[b, s],
                            now,
                            lambda lag, column, lanes: simd.load(impulse, [lag], column, lanes),
                            put,
                        )
                    with T.Else():
                        _recurrence(order, isa, u, a_t, b_in, m_in, b, put)
                with T.Else():
                    simd.for_blocks(
                        order,
                        isa.lanes,
                        lambda start, lanes: put(start, lanes, simd.load(m_in, [b], start, lanes)),
                    )
    return KernelForm(k.func, scratch)


def _finite_form(
    order: int,
    isa: Isa,
    events: EventList | None,
    u: Callable[[Any], Any],
    now: Any,
    impulse: Callable[[Any, Any, int], Any],
    put: Callable[[Any, int, Any], None],
) -> None:
    """Σ_{s ≤ now} H[now − s]·u[s] in ascending s, by blocks of columns held in registers."""

    def columns(start: Any, width: int) -> None:
        acc = simd.Accumulators(1, width, isa.lanes)
        acc.fill(lambda _, vec: simd.zeros(vec[1]))
        # in a variable, or TVM folds it into every vector's address instead of computing a row once
        lag = tir.scratch([1], "int32")

        def add(s: Any, value: Any) -> None:
            tir.store(lag, [0], now - s)
            for offset, lanes in acc.vectors:
                row = impulse(lag[0], start + offset, lanes)
                old = acc.get(0, (offset, lanes))
                new = old + row if value is None else old + row * simd.splat(value, lanes)
                acc.set(0, (offset, lanes), new)

        if events is not None:
            events.for_each(add)
        else:
            with T.serial(0, now + 1) as s:
                add(s, u(s))
        for vec in acc.vectors:
            put(start + vec[0], vec[1], acc.get(0, vec))

    simd.for_blocks(order, HELD_VECTORS[isa.name] * isa.lanes, columns)


def _recurrence(
    order: int, isa: Isa, u: Any, a_t: Any, b_in: Any, m_in: Any, b: Any, put: Callable[..., None]
) -> None:
    """A m + B u, the matrix stored transposed so that its columns are contiguous."""

    def columns(start: Any, width: int) -> None:
        acc = simd.Accumulators(1, width, isa.lanes)
        drive = T.cast(u[b, 0], "float32")
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
