"""Spike-driven layers: the columns of active inputs are added, nothing else is touched.

A row of spikes is first compacted into a list of active inputs, then for a block of output columns,
held in registers, one weight row per list entry is added. Floor: the bytes of the active weight
rows over the bandwidth of whichever cache holds them (L3 for a paper-size model, ~60 GB/s here),
and one vector load-add per row and vector.

Sums run in ascending order of tap and input, the same for a whole sequence and for a stream, so
both give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.converters.ops.spike_conv.op import SPIKE_CONV
from millijoule.converters.ops.spike_linear.op import SPIKE_LINEAR
from millijoule.converters.ops.vocabulary import Attrs
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.events import EventList
from millijoule.targets.kernels.form import KernelForm, parallel_chunks
from millijoule.targets.target import Isa

# Vectors of output columns held in registers while the event list is walked.
HELD_VECTORS = {"avx512": 16, "avx2": 8, "sse2": 8, "neon": 16, "mve": 4, "dsp": 16, "scalar": 4}


def spike_linear_f32(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """``spike_linear``: one event list per row."""
    (batch, steps, inputs), (_, outputs) = operands[0].shape, operands[1].shape
    rows = batch * steps

    def layer(buffers: list[Any], row: Any, events: EventList) -> None:
        s, w, bias, y = buffers
        b, t = row // steps, row % steps
        events.clear()
        events.append(lambda i, lanes: simd.load(s, [b, t], i, lanes), inputs, base=0)

        def columns(start: Any, width: int) -> None:
            acc = simd.Accumulators(1, width, isa.lanes)
            acc.fill(lambda _, vec: simd.load(bias, [], start + vec[0], vec[1]))
            _add_rows(acc, events, lambda i, vec: simd.load(w, [i], start + vec[0], vec[1]))
            for vec in acc.vectors:
                simd.save(y, [b, t], start + vec[0], vec[1], acc.get(0, vec))

        simd.for_blocks(outputs, HELD_VECTORS[isa.name] * isa.lanes, columns)

    results = SPIKE_LINEAR.results(attrs, operands)
    return _by_rows("spike_linear", attrs, operands, results, isa, rows, inputs, layer)


def spike_conv_f32(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """``spike_conv``: one event list over all taps per row; an event is (tap, input) flattened."""
    (batch, steps, channels), (taps, _, outputs) = operands[0].shape, operands[1].shape
    results = SPIKE_CONV.results(attrs, operands)
    out_steps, padding = results[0].shape[1], attrs["padding"]

    def layer(buffers: list[Any], row: Any, events: EventList) -> None:
        s, w, y = buffers
        b, t = row // out_steps, row % out_steps
        events.clear()
        for tap in range(taps):
            source = t + (tap - padding)

            def append(tap: int = tap, source: Any = source) -> None:
                events.append(
                    lambda i, lanes: simd.load(s, [b, source], i, lanes),
                    channels,
                    base=tap * channels,
                )

            if padding == 0:
                append()
            else:
                with T.If(T.And(source >= 0, source < steps)), T.Then():
                    append()

        def columns(start: Any, width: int) -> None:
            acc = simd.Accumulators(1, width, isa.lanes)
            acc.fill(lambda _, vec: simd.zeros(vec[1]))
            _add_rows(
                acc,
                events,
                lambda i, vec: simd.load(w, [i // channels, i % channels], start + vec[0], vec[1]),
            )
            for vec in acc.vectors:
                simd.save(y, [b, t], start + vec[0], vec[1], acc.get(0, vec))

        simd.for_blocks(outputs, HELD_VECTORS[isa.name] * isa.lanes, columns)

    rows = batch * out_steps
    return _by_rows("spike_conv", attrs, operands, results, isa, rows, taps * channels, layer)


def _add_rows(
    acc: simd.Accumulators, events: EventList, weight: Callable[[Any, tuple[int, int]], Any]
) -> None:
    """Add the weight row of every event, times its count unless spikes are binary."""

    def add(index: Any, count: Any) -> None:
        for vec in acc.vectors:
            row = weight(index, vec)
            if count is not None:
                row = row * simd.splat(count, vec[1])
            acc.set(0, vec, acc.get(0, vec) + row)

    events.for_each(add)


def _by_rows(
    name: str,
    attrs: Attrs,
    operands: Sequence[TensorType],
    results: Sequence[TensorType],
    isa: Isa,
    rows: int,
    inputs: int,
    layer: Callable[[list[Any], Any, EventList], None],
) -> KernelForm:
    """A kernel that runs ``layer`` for every output row, in parallel chunks if there is work."""
    binary = attrs["binary"]
    outputs = results[0].shape[-1]
    chunks = parallel_chunks(rows, rows * inputs * outputs // 8)
    scratch = EventList.scratch(chunks, inputs, binary)
    suffix = "binary" if binary else "counts"
    with tir.kernel(f"{name}_{suffix}_f32_{isa.name}", operands, [*results, *scratch]) as k:
        buffers = k.buffers[: len(operands) + 1]
        loop = T.parallel if chunks > 1 else T.serial
        per_chunk = -(-rows // chunks)
        with loop(0, chunks) as chunk, T.serial(0, per_chunk) as i:
            row = chunk * per_chunk + i

            def work() -> None:
                layer(buffers, row, EventList(k.buffers[len(operands) + 1 :], chunk, binary, isa))

            if rows % chunks:
                with T.If(row < rows), T.Then():
                    work()
            else:
                work()
    return KernelForm(k.func, scratch)
