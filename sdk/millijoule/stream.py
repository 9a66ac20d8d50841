"""Streaming: one step in, one step out, with states in between.

A program with a delay of ``d`` steps answers frame ``t`` at step ``t + d``; ``flush`` feeds ``d``
empty steps to get the answers that are still on their way::

    step      0    1    2    3    4   | flush: 5    6        (d = 2)
    frame     f0   f1   f2   f3   f4  |        -    -
    output    None None y0   y1   y2  |        y3   y4
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .bundle import Manifest, Streaming, TensorSpec
from .errors import UsageError
from .executors import Program, aligned_empty
from .tensors import check_names, to_array

__all__ = ["Stepper", "Stream", "require_streaming"]


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
    """Drives a streaming program step by step; the caller checks frames and holds a lock."""

    def __init__(self, manifest: Manifest, program: Program) -> None:
        self.streaming = require_streaming(manifest)
        self.sequence = next(
            spec for spec in manifest.inputs if spec.name == self.streaming.sequence_input
        )
        self._manifest = manifest
        self._program = program
        # The program always sees the same buffers, so that it need not check them every step.
        inputs = {s.name: aligned_empty(s.shape, s.dtype) for s in manifest.inputs}
        self._outputs = {s.name: aligned_empty(s.shape, s.dtype) for s in manifest.outputs}
        self._arrays = tuple(inputs.values()), tuple(self._outputs.values())
        self._frame = inputs[self.sequence.name]
        self._zeros = np.zeros_like(self._frame)
        self._valid = inputs[self.streaming.valid_input]
        self.steps = 0

    def accept(self, value: Any) -> np.ndarray:
        """``value`` as a frame, checked.

        Raises:
            UsageError: wrong shape or kind, NaN or infinity.
        """
        exact = (
            type(value) is np.ndarray
            and value.shape == self._frame.shape
            and value.dtype == self._frame.dtype
        )
        # the usual case in a microsecond: x·0 is NaN just if x holds NaN or infinity
        if exact and np.vdot(value, self._zeros) == 0:
            return value
        return to_array(self.sequence, value, self.sequence.shape)

    def reset(self) -> None:
        """Back to the state before the first step."""
        self._program.reset()
        self.steps = 0

    def check_length(self, steps: int) -> None:
        """Raise :class:`UsageError` if the program cannot take ``steps`` frames in a row."""
        limit = self.streaming.limit
        if limit is not None and steps > limit:
            raise UsageError(
                f"{self._manifest.model.name} takes at most {limit} steps in a row, but this is"
                f" step {steps}; call reset() or cut the sequence"
            )

    def step(
        self, frame: np.ndarray | None, taps: Sequence[str] = ()
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Outputs and taps of one step; ``frame`` None is an empty step after the end.

        Raises:
            UsageError: the sequence is longer than the program's limit.
        """
        if frame is not None:
            self.check_length(self.steps + 1)
        self._frame[...] = 0 if frame is None else frame
        self._valid[0] = frame is not None
        tapped: dict[str, np.ndarray] = {}
        if taps:
            tapped = self._program.run_tapped(*self._arrays, taps)
        else:
            self._program.run(*self._arrays)
        self.steps += 1
        return {name: output.copy() for name, output in self._outputs.items()}, tapped


class Stream:
    """One stream through a streaming bundle, with states of its own.

    Several streams and ``Session.run`` may go on side by side. Safe to share between threads, in
    the sense that each call is whole.
    """

    def __init__(self, manifest: Manifest, program: Program) -> None:
        self.program = program
        self._stepper = Stepper(manifest, program)
        self._lock = threading.Lock()
        self._flushed = False
        self._stepper.reset()

    @property
    def delay(self) -> int:
        """Steps before the first output."""
        return self._stepper.streaming.delay

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
        name = self._stepper.sequence.name
        check_names(inputs, (name,))
        frame = self._stepper.accept(inputs[name])
        with self._lock:
            if self._flushed:
                raise UsageError("the stream was flushed; call reset() before the next step")
            outputs, _ = self._stepper.step(frame)
            return outputs if self.steps > self.delay else None

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
                outputs, _ = self._stepper.step(None)
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
