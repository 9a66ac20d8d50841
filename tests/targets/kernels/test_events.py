"""Event lists hold exactly the active inputs, in order."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import tvm
import tvm.script.ir_builder.tirx as T
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fixtures.kernels import ISAS, compiled
from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.events import EventList
from millijoule.targets.kernels.form import MAX_CHUNKS, PARALLEL_OPERATIONS, parallel_chunks
from millijoule.targets.target import Isa

WIDTH = 67


@cache
def collector(binary: bool, isa: Isa) -> Any:
    """Appends both rows of s [2, WIDTH] to one list, then copies it out through `for_each`."""
    s_type = TensorType((2, WIDTH), "uint8")
    found, total = TensorType((2 * WIDTH, 2), "float32"), TensorType((1,), "int32")
    scratch = EventList.scratch(1, 2 * WIDTH, binary, isa)
    with tir.kernel("collect", [s_type], [found, total, *scratch]) as k:
        s, out, count = k.buffers[:3]
        events = EventList(k.buffers[3:], 0, binary, isa)
        events.clear()
        for row in range(2):

            def load(start: Any, lanes: int, row: int = row) -> Any:
                return simd.load(s, [row], start, lanes)

            events.append(load, WIDTH, base=row * WIDTH)
        tir.store(count, [0], T.int32(0))

        def body(index: Any, value: Any) -> None:
            tir.store(out, [count[0], 0], T.cast(index, "float32"))
            tir.store(out, [count[0], 1], T.float32(1) if value is None else value)
            tir.store(count, [0], count[0] + 1)

        events.for_each(body)
    library = compiled(k.func, isa)
    buffers = [np.zeros(t.shape, t.dtype) for t in (found, total, *scratch)]

    def run(spikes: np.ndarray) -> list[tuple[int, int]]:
        tensors = [tvm.runtime.tensor(a) for a in (spikes, *buffers)]
        library["kernel"](*tensors)
        length = int(tensors[2].numpy()[0])
        return [(int(i), int(c)) for i, c in tensors[1].numpy()[:length]]

    return run


@settings(deadline=None)
@given(arrays(np.uint8, (2, WIDTH), elements=st.integers(0, 1)), st.sampled_from(ISAS))
def test_binary_lists(spikes: np.ndarray, isa: Isa) -> None:
    assert collector(True, isa)(spikes) == [(int(i), 1) for i in np.flatnonzero(spikes)]


@settings(deadline=None)
@given(arrays(np.uint8, (2, WIDTH), elements=st.integers(0, 255)), st.sampled_from(ISAS))
def test_lists_with_counts(spikes: np.ndarray, isa: Isa) -> None:
    flat = spikes.ravel()
    assert collector(False, isa)(spikes) == [(int(i), int(flat[i])) for i in np.flatnonzero(flat)]


@given(rows=st.integers(1, 10_000), operations=st.integers(0, 10**9))
def test_chunks(rows: int, operations: int) -> None:
    chunks = parallel_chunks(rows, operations)
    assert 1 <= chunks <= min(rows, MAX_CHUNKS)
    assert chunks == 1 or operations >= PARALLEL_OPERATIONS
