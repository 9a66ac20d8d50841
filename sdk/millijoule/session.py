"""Running bundles on a device: arrays by name in, arrays by name out."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from .bundle import Bundle, Manifest, StateSpec, TensorSpec
from .cpu import available_cpus
from .errors import UsageError
from .executors import LOCAL, Program, aligned_empty, open_program
from .shapes import Shapes
from .sizes import Dim
from .stream import END, Stepper, Stream, require_streaming
from .tensors import check_names, complete, run_inputs, to_array

__all__ = ["Session", "Stream", "load"]


def load(path: str | os.PathLike[str], threads: int | None = None, device: str = LOCAL) -> Session:
    """Open the bundle at ``path`` and get its program ready.

    Args:
        path: a ``.mjb`` file.
        threads: threads to run with; None takes the number that the bundle was built for, but no
            more than this process may use. On an emulated device None is 1.
        device: where to run it, a name of ``mj devices`` such as ``qemu:cortex-m4``.

    Raises:
        UsageError: no such file or device, or a bad number of threads.
        BundleError: a damaged bundle.
        DeviceError: the device cannot run the program.
    """
    return Session(Bundle.open(path), threads, device)


class Session:
    """A loaded bundle.

    Calls from several threads take turns. The program in a bundle is machine code: open bundles
    from people whose programs you would run.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None, device: str = LOCAL) -> None:
        self.bundle = bundle
        self.manifest: Manifest = bundle.manifest
        self.device = device
        usual = min(self.manifest.target.threads, available_cpus()) if device == LOCAL else 1
        self.threads = usual if threads is None else threads
        self.program: Program = open_program(bundle, self.threads, device)
        self._stepper = Stepper(self.manifest, self.program) if self.manifest.streaming else None
        self._tap_axes = {str(tap.name): tap.batch_axis for _, tap in self.manifest.taps()}
        self._whole_inputs = run_inputs(self.manifest)
        self._shapes = Shapes(self.manifest)
        self._rows = self._shapes.batch_dim() or Dim("rows", self.batch, self.batch)
        self._lock = threading.Lock()

    @property
    def batch(self) -> int:
        """Rows of one call of the program, at most."""
        return self.manifest.batch

    @property
    def dims(self) -> tuple[Dim, ...]:
        """Dimensions whose size may vary from run to run, with their bounds."""
        return self.manifest.dims

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What one call of the program takes (for streaming bundles: one step)."""
        return self.manifest.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What one call of the program gives."""
        return self.manifest.outputs

    @property
    def states(self) -> tuple[StateSpec, ...]:
        """What a streaming program carries from step to step."""
        return self.manifest.streaming.states if self.manifest.streaming else ()

    @property
    def taps(self) -> tuple[str, ...]:
        """Names of the intermediate values that ``run(taps=…)`` can return."""
        return tuple(self._tap_axes)

    def run(self, inputs: Mapping[str, Any], taps: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """Outputs by name, followed by the values of ``taps``.

        Rows beyond the bundle's batch are run in turn. Axes whose size varies (:attr:`dims`) may
        have any size within the bounds, and outputs follow. A streaming bundle takes whole
        sequences of shape [B, N, F…], starts from its initial states, and returns each final output
        ``y`` [B, …] as well as ``all_seq_y`` [N, B, …], its value after every frame.

        Args:
            inputs: arrays by name; see :mod:`millijoule.tensors` for the dtypes that are accepted.
            taps: names from :attr:`taps`. Values of several calls are joined along the tap's batch
                axis; a streaming bundle puts an axis of all N + delay steps in front.

        Raises:
            UsageError: unknown or missing names, bad shapes or dtypes, NaN or infinity.
            DeviceError: a kernel failed.
        """
        with self._lock:
            self._check_taps(taps)
            inputs, length = complete(self.manifest, inputs)
            arrays, rows = self._check_inputs(inputs)
            axes = self._result_axes(taps)
            if not self._rows.min <= rows <= self._rows.max:
                _require_batch_axes(axes, self.manifest.batch)
            run = partial(_run_sequence, self._stepper) if self._stepper else self._run_once
            parts = [run(chunk, taps) for chunk in self._chunks(arrays, rows)]
            joined = {n: _join([part[n] for part in parts], axes[n], rows) for n in axes}
            return joined if length is None else self._cut(joined, length)

    def _cut(self, results: dict[str, np.ndarray], length: int) -> dict[str, np.ndarray]:
        """Results without what belongs to the filling of short rows."""
        for spec in self.outputs:
            if spec.pad_axis is not None:
                where = (*(slice(None),) * spec.pad_axis, slice(length))
                results[spec.name] = results[spec.name][where]
        return results

    def stream(self) -> Stream:
        """A new stream from the initial states, independent of other streams and of :meth:`run`.

        Raises:
            UsageError: the bundle was not built for streaming.
        """
        require_streaming(self.manifest)
        return Stream(self.manifest, open_program(self.bundle, self.threads, self.device))

    def close(self) -> None:
        """Stop threads and let go of the bundle; may be called again."""
        with self._lock:
            self.program.close()
            self.bundle.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_taps(self, taps: Sequence[str]) -> None:
        for name in taps:
            if name not in self._tap_axes:
                valid = ", ".join(self.taps) or "none in this bundle"
                raise UsageError(f"unknown tap {name!r}; taps: {valid}")

    def _check_inputs(
        self, inputs: Mapping[str, Any]
    ) -> tuple[list[tuple[np.ndarray, int | None]], int]:
        """Checked arrays, each with its batch axis, and the number of rows that they share."""
        check_names(inputs, [spec.name for spec, _ in self._whole_inputs])
        arrays, rows = [], {}
        for spec, shape in self._whole_inputs:
            array = to_array(spec, inputs[spec.name], shape)
            arrays.append((array, spec.batch_axis))
            if spec.batch_axis is not None:
                rows[spec.name] = array.shape[spec.batch_axis]
        if len(set(rows.values())) > 1:
            counts = ", ".join(f"{name} has {count}" for name, count in rows.items())
            raise UsageError(f"inputs must have equally many rows, but {counts}")
        return arrays, next(iter(rows.values()), self.manifest.batch)

    def _result_axes(self, taps: Sequence[str]) -> dict[str, int | None]:
        """Names of all results in order, each with its batch axis."""
        tapped = self._tap_axes
        outputs = {spec.name: spec.batch_axis for spec in self.outputs}
        if self._stepper is None:
            return {**outputs, **{name: tapped[name] for name in taps}}
        stacked = {f"all_seq_{name}": _shifted(axis) for name, axis in outputs.items()}
        return {**outputs, **stacked, **{name: _shifted(tapped[name]) for name in taps}}

    def _chunks(
        self, arrays: list[tuple[np.ndarray, int | None]], rows: int
    ) -> Iterator[list[np.ndarray]]:
        """Pieces of the bundle's batch; the last one is filled up by repeating the last row.

        A batch that varies is filled up to its smallest size only.
        """
        if self._rows.min <= rows <= self._rows.max:
            yield [array for array, _ in arrays]
            return
        for start in range(0, rows, self._rows.max):
            count = max(self._rows.min, min(self._rows.max, rows - start))
            picked = np.minimum(np.arange(start, start + count), rows - 1)
            yield [a if axis is None else a.take(picked, axis) for a, axis in arrays]

    def _run_once(self, arrays: list[np.ndarray], taps: Sequence[str]) -> dict[str, np.ndarray]:
        sizes = self._shapes.sizes(arrays)
        results = {
            spec.name: aligned_empty(self._shapes.of(spec, sizes), spec.dtype)
            for spec in self.outputs
        }
        if taps:
            tapped = self.program.run_tapped(arrays, list(results.values()), taps)
            return {**results, **tapped}
        self.program.run(arrays, list(results.values()))
        return results


def _run_sequence(
    stepper: Stepper, arrays: list[np.ndarray], taps: Sequence[str]
) -> dict[str, np.ndarray]:
    """One sequence [B, N, F…] from the initial states to the flushed end."""
    frames = arrays[0]
    stepper.check_length(frames.shape[1])
    stepper.reset()
    steps = [stepper.step_tapped(frames[:, index], taps) for index in range(frames.shape[1])]
    steps += [stepper.step_tapped(END, taps) for _ in range(stepper.streaming.delay)]
    answers = [outputs for outputs, _ in steps[stepper.streaming.delay :]]
    return {
        **answers[-1],
        **{f"all_seq_{name}": np.stack([a[name] for a in answers]) for name in answers[-1]},
        **{name: np.stack([tapped[name] for _, tapped in steps]) for name in taps},
    }


def _shifted(axis: int | None) -> int | None:
    """A batch axis after the steps were stacked in front."""
    return None if axis is None else axis + 1


def _require_batch_axes(axes: Mapping[str, int | None], batch: int) -> None:
    """Several calls, or a part of one, need to know where the rows of every result lie."""
    for name, axis in axes.items():
        if axis is None:
            raise UsageError(f"{name!r} has no batch axis, so inputs must have just {batch} row(s)")


def _join(values: list[np.ndarray], axis: int | None, rows: int) -> np.ndarray:
    """Results of several calls as one, without the rows that filled the last call up."""
    if axis is None:
        return values[0]
    if len(values) == 1 and values[0].shape[axis] == rows:
        return values[0]
    joined = values[0] if len(values) == 1 else np.concatenate(values, axis)
    return joined[(slice(None),) * axis + (slice(rows),)]
