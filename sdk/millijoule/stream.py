"""Streaming: one step in, one step out, with states in between.

A program with a delay of ``d`` steps answers frame ``t`` at step ``t + d``; ``flush`` feeds ``d``
empty steps to get the answers that are still on their way::

    step      0    1    2    3    4   | flush: 5    6        (d = 2)
    frame     f0   f1   f2   f3   f4  |        -    -
    output    None None y0   y1   y2  |        y3   y4
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .bundle import Manifest, Streaming, TensorSpec
from .errors import UsageError
from .executors import Program, aligned_empty
from .executors.base import run_finite_of
from .tensors import check_names, to_array

__all__ = ["END", "Stepper", "Stream", "require_streaming"]

#: The frame of the empty steps after the end of a sequence.
END = object()


def require_streaming(manifest: Manifest) -> Streaming:
    """The streaming part of ``manifest``.

    Raises:
        UsageError: the bundle was not built for streaming.
    """
    if manifest.streaming is None:
        raise UsageError(
            f"{manifest.model.name} does not stream; rebuild it with `mj build --streaming`"
        )
    return manifest.streaming


class Stepper:
    """Drives a streaming program step by step, checking frames; the caller holds a lock."""

    def __init__(self, manifest: Manifest, program: Program) -> None:
        self.streaming = require_streaming(manifest)
        self.sequence = next(
            spec for spec in manifest.inputs if spec.name == self.streaming.sequence_input
        )
        self._manifest = manifest
        self._program = program
        self._run_finite = run_finite_of(program)
        # The program always sees the same buffers, so that it need not check them every step.
        inputs = {s.name: aligned_empty(s.shape, s.dtype) for s in manifest.inputs}
        self._outputs = {s.name: aligned_empty(s.shape, s.dtype) for s in manifest.outputs}
        self._arrays = tuple(inputs.values()), tuple(self._outputs.values())
        self._frame = frame = inputs[self.sequence.name]
        self._shape, self._dtype = frame.shape, frame.dtype
        self._copies = [(name, output.copy) for name, output in self._outputs.items()]
        self._valid = inputs[self.streaming.valid_input]
        self._valid[0], self._ended = 1, False
        self._limit = math.inf if self.streaming.limit is None else self.streaming.limit
        self.steps = 0

    def reset(self) -> None:
        """Back to the state before the first step."""
        self._program.reset()
        self.steps = 0

    def check_length(self, steps: int) -> None:
        """Raise :class:`UsageError` if the program cannot take ``steps`` frames in a row."""
        if steps > self._limit:
            raise UsageError(
                f"{self._manifest.model.name} takes at most {self._limit} steps in a row, but this"
                f" is step {steps}; call reset() or cut the sequence"
            )

    def step(self, frame: Any) -> dict[str, np.ndarray]:
        """Outputs of one step; the frame `END` is an empty step after the end.

        Raises:
            UsageError: a bad frame, or a sequence that is longer than the program's limit.
        """
        usual = (
            type(frame) is np.ndarray
            and frame.dtype is self._dtype
            and frame.shape == self._shape
            and self.steps < self._limit
            and not self._ended
        )
        if usual:  # nothing is left to check but the values, at which the program looks
            self._frame[...] = frame
        else:
            self._prepare(frame)
        if not self._run_finite(*self._arrays):
            to_array(self.sequence, self._frame, self._shape)  # says what is not finite, and where
        self.steps += 1
        results = {}
        for name, copy in self._copies:  # a comprehension would be a call of its own
            results[name] = copy()
        return results

    def step_tapped(
        self, frame: Any, taps: Sequence[str]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """As :meth:`step`, and copies of the kernel outputs named ``taps``."""
        if not taps:
            return self.step(frame), {}
        self._prepare(frame)
        tapped = self._program.run_tapped(*self._arrays, taps)
        self.steps += 1
        return {name: copy() for name, copy in self._copies}, tapped

    def _prepare(self, frame: Any) -> None:
        """Put a frame where the program reads it; a bad one leaves the stream as it was.

        Raises:
            UsageError: wrong shape or kind, NaN or infinity, or one frame too many.
        """
        if frame is END:
            self._frame[...] = 0
            self._valid[0] = 0
            self._ended = True
            return
        if self.steps >= self._limit:
            self.check_length(self.steps + 1)
        self._frame[...] = to_array(self.sequence, frame, self._shape)
        self._valid[0] = 1
        self._ended = False


class Stream:
    """One stream through a streaming bundle, with states of its own.

    Several streams and ``Session.run`` may go on side by side. Safe to share between threads, in
    the sense that each call is whole.
    """

    def __init__(self, manifest: Manifest, program: Program) -> None:
        self.program = program
        self._stepper = Stepper(manifest, program)
        self._name = self._stepper.sequence.name
        self._delay = self._stepper.streaming.delay
        self._lock = threading.Lock()
        self._flushed = False
        self._stepper.reset()

    @property
    def delay(self) -> int:
        """Steps before the first output."""
        return self._delay

    @property
    def steps(self) -> int:
        """Steps taken since the last :meth:`reset`, those of :meth:`flush` included."""
        return self._stepper.steps

    @property
    def input(self) -> TensorSpec:
        """The frame that each step takes."""
        return self._stepper.sequence

    def step(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
        """Feed one frame; the outputs for the frame ``delay`` steps ago, or None before there is
        one.

        Args:
            inputs: the sequence input by name, shape [B, F…], e.g. ``{"x": frame}``.

        Raises:
            UsageError: a bad frame, a stream that is too long, flushed or closed.
            DeviceError: a kernel failed.
        """
        name = self._name
        if type(inputs) is not dict or len(inputs) != 1 or name not in inputs:
            check_names(inputs, (name,))
        with self._lock:
            if self._flushed:
                raise UsageError("the stream was flushed; call reset() before the next step")
            outputs = self._stepper.step(inputs[name])
            return outputs if self._stepper.steps > self._delay else None

    def flush(self) -> list[dict[str, np.ndarray]]:
        """End the sequence: outputs of its last ``delay`` frames (of all, if it was shorter)."""
        with self._lock:
            if self._flushed:
                raise UsageError("the stream was flushed already; call reset() to start anew")
            self._flushed = True
            if self.steps == 0:
                return []
            rest = []
            for _ in range(self.delay):
                outputs = self._stepper.step(END)
                if self.steps > self.delay:
                    rest.append(outputs)
            return rest

    def reset(self) -> None:
        """Forget everything: back to the initial states."""
        with self._lock:
            self._stepper.reset()
            self._flushed = False

    def close(self) -> None:
        """Free the stream's states; may be called again."""
        with self._lock:
            self.program.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
