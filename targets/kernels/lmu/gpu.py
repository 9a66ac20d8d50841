"""``lmu_memory``, ``lmu_step``, ``lmu_step_fixed`` on a GPU: rows of the response, a block a step.

Of binary inputs the past is a mask (`spike.gpu`), whose bits add rows of the response; real inputs
multiply every row. Sums run in ascending time, as on CPUs, so a stream gives the bits of its
sequence.

Floor: the response once from memory; at step t the bytes of its rows that are added, rate · t of
them or all, from the second-level cache. A step of a stream is the latency of its chain of rows: M
threads are far too few to fill an Orin.
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
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.kernels.spike.gpu import Columns, SpikeRows, for_rows
from millijoule.targets.kernels.threads import Registers, for_all, when
from millijoule.targets.target import Isa


def lmu_memory_gpu(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """Whole sequence, finite form; float32, or int8 with binary u."""
    (batch, steps), (_, order) = operands[0].shape, operands[1].shape
    results = LMU_MEMORY.results(attrs, operands)
    with tir.kernel(_name(LMU_MEMORY, operands), operands, results) as k:
        u, impulse, m = k.buffers
        finite = _Finite(operands, results[0].dtype, steps)

        def block(row: Any, columns: Columns) -> None:
            b, t = row // steps, row % steps
            finite.pack(columns, lambda s: u[b, s], t)
            finite.add(columns, impulse, lambda s: u[b, s], t)
            columns.each(lambda i, value: tir.store(m, [b, t, i], finite.scaled(value)))

        for_rows(batch * steps, order, results[0].dtype, block)
    return KernelForm(k.func)


def lmu_step_gpu(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """One step of a float32 stream: finite form while it is exact, then the recurrence."""
    return _step(LMU_STEP, attrs, operands)


def lmu_step_fixed_gpu(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """One step of an integer stream."""
    return _step(LMU_STEP_FIXED, attrs, operands)


def _name(op: VocabularyOp, operands: Sequence[TensorType]) -> str:
    kind = "binary" if operands[0].dtype == "uint8" else "real"
    return f"{op.name}_{kind}_{'s8' if operands[1].dtype == 'int8' else 'f32'}_gpu"


class _Finite:
    """Σ_{s ≤ now} H[now − s]·u[s] for the columns of a thread."""

    def __init__(self, operands: Sequence[TensorType], dtype: str, length: int) -> None:
        self._binary, self._length, self._dtype = operands[0].dtype == "uint8", length, dtype
        self._mask = SpikeRows(1, length, True, dtype) if self._binary else None

    def pack(self, columns: Columns, u: Callable[[Any], Any], now: Any) -> None:
        """Make the mask of the past, if inputs are binary."""
        if self._mask is not None:
            zero = T.uint8(0)
            self._mask.pack(columns, lambda _, s: T.if_then_else(s <= now, u(s), zero))

    def add(self, columns: Columns, impulse: Any, u: Callable[[Any], Any], now: Any) -> None:
        """Sum up; with binary inputs, behind `pack`."""
        columns.fill(lambda _: T.cast(0, self._dtype))
        if self._mask is not None:
            self._mask.add(columns, lambda _, s, i: impulse[now - s, i], lambda _, s: u(s))
            return
        with T.serial(0, now + 1) as s:
            columns.add(lambda i: impulse[now - s, i] * u(s))

    def scaled(self, value: Any) -> Any:
        """Integers as the memory holds them."""
        return T.shift_left(value, T.int32(MEMORY_BITS)) if self._dtype == "int32" else value


def _step(op: VocabularyOp, attrs: Attrs, operands: Sequence[TensorType]) -> KernelForm:
    (length, order), batch = operands[1].shape, operands[0].shape[0]
    results = op.results(attrs, operands)
    with tir.kernel(_name(op, operands), operands, results) as k:
        count = len(operands)
        u, impulse, a_t, *system, history_in, m_in, t_in, valid = k.buffers[:count]
        m_out, history, m, t_out = k.buffers[count:]
        finite = _Finite(operands, results[0].dtype, length)

        def block(b: Any, columns: Columns) -> None:
            now, runs = t_in[0], valid[0] != 0

            def past(s: Any) -> Any:
                return T.if_then_else(T.And(runs, s == now), u[b, 0], history_in[b, s])

            def put(i: Any, value: Any) -> None:
                tir.store(m_out, [b, 0, i], value)
                tir.store(m, [b, i], value)

            with when(columns.first == 0):
                keep = lambda s: tir.store(history, [b, s], past(s))  # noqa: E731
                for_all(length, columns.threads, columns.me, keep)
                with when(T.And(b == 0, columns.me == 0)):
                    tir.store(t_out, [0], now + T.Select(runs, 1, 0))
            finite.pack(columns, past, now)
            with T.If(runs):
                with T.Then(), T.If(now < length):
                    with T.Then():
                        finite.add(columns, impulse, past, now)
                        columns.apply(lambda _, value: finite.scaled(value))
                    with T.Else():
                        recur = _recurrence if op is LMU_STEP else _recurrence_fixed
                        recur(columns, order, u[b, 0], a_t, system, lambda j: m_in[b, j])
                with T.Else():
                    columns.fill(lambda i: m_in[b, i])
            columns.each(put)

        for_rows(batch, order, results[0].dtype, block)
    return KernelForm(k.func)


def _recurrence(
    columns: Columns, order: int, u: Any, a_t: Any, system: Any, m: Callable[[Any], Any]
) -> None:
    """A m + B u."""
    drive = T.cast(u, "float32")
    columns.fill(lambda i: system[0][i] * drive)
    with T.serial(0, order) as j:
        columns.add(lambda i: a_t[j, i] * m(j))


def _recurrence_fixed(
    columns: Columns, order: int, u: Any, a_t: Any, system: Any, m: Callable[[Any], Any]
) -> None:
    """The same with sums of 64 bits, rounded and shifted per column."""
    right, b_in = system
    total = Registers(1, "int64")

    def one(i: Any, _: Any) -> Any:
        shift = T.cast(right[i], "int64")
        total[0] = T.shift_left(T.int64(1), shift - T.int64(1))
        with T.serial(0, order) as j:
            total[0] = total[0] + T.cast(a_t[j, i], "int64") * T.cast(m(j), "int64")
        carried = T.cast(T.shift_right(total[0], shift), "int32")
        return carried + T.cast(u, "int32") * b_in[i]

    columns.apply(one)
