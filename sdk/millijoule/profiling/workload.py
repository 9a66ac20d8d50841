"""Feeding a program for measurement: the calls of one pass over the inputs, prepared beforehand.

A plain program is called once per batch of samples; all calls of a pass have the same sizes. A
streaming program is called once per frame, and its states are reset, untimed, before each sequence.
The steps that flush the delay line at the end of a sequence are left out: they do the same work as
any other step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..bundle import Manifest, Streaming
from ..errors import UsageError
from ..executors import Program, aligned_empty
from ..shapes import Shapes, at_sizes, size_text
from ..tensors import check_names, complete, run_inputs, to_array


@dataclass(frozen=True)
class Call:
    """One program call: its input arrays in manifest order, and whether a sequence begins here."""

    inputs: tuple[np.ndarray, ...]
    starts: bool


class Workload:
    """The calls of one pass, and a place for their outputs.

    Args:
        manifest: Of the program.
        program: The loaded program.
        arrays: Inputs by name. Plain programs: ``[rows, …]``; streaming programs: the sequence
            input as ``[rows, steps, …]``. Rows beyond the batch make further calls; a last, partial
            batch is filled up with the first rows.

    Attributes:
        manifest: with the counts for the sizes of the calls.
        sizes: of every dimension, by name; empty if none varies.
        batch: samples per call.

    Raises:
        UsageError: Names, shapes or values that do not fit, as for ``session.run``.
    """

    def __init__(self, manifest: Manifest, program: Program, arrays: Mapping[str, Any]) -> None:
        self.program = program
        self.streaming = manifest.streaming is not None
        if manifest.streaming is None:
            self.batch, self.calls = _calls(manifest, arrays)
        else:
            self.batch = manifest.batch
            self.calls = _stream_calls(manifest, manifest.streaming, arrays)
        shapes = Shapes(manifest)
        rows = shapes.batch_dim()
        self._rows = rows.name if rows else ""
        self.sizes = shapes.sizes(self.calls[0].inputs)
        self.manifest = at_sizes(manifest, self.sizes)
        self.outputs = tuple(
            aligned_empty(shapes.of(spec, self.sizes), spec.dtype) for spec in manifest.outputs
        )

    @property
    def lengths(self) -> dict[str, int]:
        """`sizes` without that of the batch."""
        return {name: size for name, size in self.sizes.items() if name != self._rows}

    @property
    def unit(self) -> str:
        """What one call is, in words."""
        what = "step of a stream (one frame)" if self.streaming else "program call"
        return ", ".join((f"one {what}", f"batch {self.batch}", *self._size_texts()))

    def _size_texts(self) -> list[str]:
        return [size_text(self.lengths)] if self.lengths else []

    def prepare(self, call: Call) -> None:
        """Everything before the call that is not part of it."""
        if call.starts:
            self.program.reset()

    def run(self, call: Call) -> None:
        """The call itself."""
        self.program.run(call.inputs, self.outputs)

    def tap(self, call: Call, names: list[str]) -> dict[str, np.ndarray]:
        """The call itself, with copies of the named kernel outputs."""
        return self.program.run_tapped(call.inputs, self.outputs, names)


def _calls(manifest: Manifest, arrays: Mapping[str, Any]) -> tuple[int, list[Call]]:
    """Rows per call, and the calls."""
    arrays, _ = complete(manifest, arrays)
    check_names(arrays, [spec.name for spec in manifest.inputs])
    wanted = run_inputs(manifest)
    pairs = [(spec, to_array(spec, arrays[spec.name], shape)) for spec, shape in wanted]
    rows = {v.shape[spec.batch_axis] for spec, v in pairs if spec.batch_axis is not None}
    if len(rows) > 1:
        raise UsageError(f"inputs must have equally many rows, but have {sorted(rows)}")
    varies, given = Shapes(manifest).batch_dim(), max(rows, default=1)
    size = min(max(given, varies.min), varies.max) if varies else manifest.batch
    return size, [
        Call(tuple(_batch(v, spec.batch_axis, first, size) for spec, v in pairs), True)
        for first in range(0, given, size)
    ]


def _stream_calls(
    manifest: Manifest, streaming: Streaming, arrays: Mapping[str, Any]
) -> list[Call]:
    [(sequence, shape)] = run_inputs(manifest)
    check_names(arrays, [sequence.name])
    x = to_array(sequence, arrays[sequence.name], shape)
    steps = min(x.shape[1], streaming.limit or x.shape[1])
    valid = _aligned(np.ones(1, np.int32))
    calls = []
    for first in range(0, len(x), manifest.batch):
        block = _batch(x, 0, first, manifest.batch)
        for step in range(steps):
            given = {sequence.name: _aligned(block[:, step]), streaming.valid_input: valid}
            calls.append(Call(tuple(given[s.name] for s in manifest.inputs), step == 0))
    return calls


def _batch(array: np.ndarray, axis: int | None, first: int, size: int) -> np.ndarray:
    """Rows ``first`` to ``first + size``, going on with row 0 after the last one."""
    if axis is None:
        return _aligned(array)
    return _aligned(array.take(range(first, first + size), axis=axis, mode="wrap"))


def _aligned(array: np.ndarray) -> np.ndarray:
    """A copy that starts at a cache line, as in real use; other addresses may time slower."""
    copy = aligned_empty(array.shape, array.dtype)
    copy[...] = array
    return copy
