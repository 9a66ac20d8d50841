"""Spike-driven layers: the columns of active inputs are added, nothing else is touched.

A row of spikes is first compacted into a list of active inputs, then for a block of output columns,
held in registers, one weight row per list entry is added (`sums`). Floor: the bytes of the active
weight rows over the bandwidth of whichever cache holds them (L3 for a paper-size model, ~60 GB/s
here), and one vector load-add per row and vector.

Sums run in ascending order of tap and input, the same for a whole sequence and for a stream, so
both give the same bits. With int8 weights sums are exact integers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.converters.ops.spike_conv.op import SPIKE_CONV
from millijoule.converters.ops.spike_linear.op import SPIKE_LINEAR
from millijoule.converters.ops.vocabulary import Attrs
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.events import EventList
from millijoule.targets.kernels.form import KernelForm, parallel_chunks
from millijoule.targets.kernels.spike.sums import Rows, sum_rows, takes_words
from millijoule.targets.kernels.spike.words import WordRows, pack_words, packed_type
from millijoule.targets.target import Isa


def spike_linear(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """``spike_linear``, float32 or int8: one event list per row."""
    (batch, steps, inputs), (_, outputs) = operands[0].shape, operands[1].shape
    rows = batch * steps
    results = SPIKE_LINEAR.results(attrs, operands)

    def layer(buffers: list[Any], row: Any, events: EventList) -> None:
        s, w, bias, y = buffers
        b, t = row // steps, row % steps
        events.clear()
        events.append(lambda i, lanes: simd.load(s, [b, t], i, lanes), inputs, base=0)
        sum_rows(
            results[0].dtype,
            outputs,
            isa,
            events,
            initial=lambda column, lanes: simd.load(bias, [], column, lanes),
            weights=_rows(w, inputs, lambda i: [i]),
            save=lambda column, lanes, value: simd.save(y, [b, t], column, lanes, value),
        )

    return _by_rows("spike_linear", attrs, operands, results, isa, rows, inputs, layer)


def spike_conv(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """``spike_conv``, float32 or int8: one event list over all taps per row.

    An event is (tap, input) flattened.
    """
    (batch, steps, channels), (taps, _, outputs) = operands[0].shape, operands[1].shape
    results = SPIKE_CONV.results(attrs, operands)
    out_steps, padding = results[0].shape[1], attrs["padding"]

    def layer(buffers: list[Any], row: Any, events: EventList) -> None:
        s, w, y = buffers
        b, t = row // out_steps, row % out_steps

        def append(first: Any, count: int, base: int) -> None:
            # neighbouring steps lie side by side, so they are one row
            events.append(
                lambda i, lanes: simd.load(s, [b, first + i // channels], i % channels, lanes),
                count * channels,
                base * channels,
            )

        events.clear()
        if padding == 0:
            append(t, taps, 0)
        else:
            for tap in range(taps):
                source = t + (tap - padding)
                with T.If(T.And(source >= 0, source < steps)), T.Then():
                    append(source, 1, tap)
        sum_rows(
            results[0].dtype,
            outputs,
            isa,
            events,
            initial=lambda column, lanes: simd.zeros(lanes, results[0].dtype),
            weights=_rows(w, taps * channels, lambda i: [i // channels, i % channels]),
            save=lambda column, lanes, value: simd.save(y, [b, t], column, lanes, value),
        )

    rows = batch * out_steps
    return _by_rows("spike_conv", attrs, operands, results, isa, rows, taps * channels, layer)


def _rows(w: Any, inputs: int, index: Callable[[Any], list[Any]]) -> Rows | WordRows:
    """The weights as `sum_rows` takes them; ``index`` maps an event to the row's index."""
    if w.dtype == "int32":
        return WordRows(w, inputs)
    return lambda i, column, lanes: simd.load(w, index(i), column, lanes)


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
    binary, dtype = attrs["binary"], results[0].dtype
    outputs = results[0].shape[-1]
    chunks = parallel_chunks(rows, rows * inputs * outputs // 8)
    scratch = EventList.scratch(chunks, inputs, binary, isa, dtype)
    kind, weights = "binary" if binary else "counts", "s8" if dtype == "int32" else "f32"
    packed: dict[int, Callable[[np.ndarray], np.ndarray]] = {}
    if takes_words(isa, operands[1].dtype, binary):
        packed = {1: pack_words}
        operands = [operands[0], packed_type(operands[1]), *operands[2:]]
    with tir.kernel(f"{name}_{kind}_{weights}_{isa.name}", operands, [*results, *scratch]) as k:
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
    return KernelForm(k.func, scratch, packed)
