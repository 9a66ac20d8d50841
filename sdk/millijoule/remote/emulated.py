"""Programs on an emulated device: `executors.base.Program` over a wire to a runner inside QEMU."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..bundle import Bundle, KernelOutput, TensorSpec
from ..errors import DeviceError, UsageError
from ..shapes import Shapes
from .channel import Channel, timeout_from
from .counting import Counters, Counts, plugin_library, plugin_option
from .devices import Device, require_target
from .greeting import check_greeting
from .requests import COUNT_KERNELS, PAINT_STACK, Requests
from .runners import prepare

__all__ = ["EmulatedProgram", "RunCounts"]

_MAX_TAPS = 512

Spec = TypeVar("Spec", TensorSpec, KernelOutput)


@dataclass(frozen=True)
class RunCounts:
    """What one counted run of the program took.

    Attributes:
        instructions: Retired from entering ``mj_run`` to leaving it.
        kernels: uint64 [kernels], those between the markers around each kernel; zeros unless asked.
        stack_bytes: Deepest stack below the caller of ``mj_run``; 0 unless asked.
    """

    instructions: int
    kernels: np.ndarray
    stack_bytes: int


class EmulatedProgram:
    """A program inside an emulator; see :class:`millijoule.executors.base.Program`.

    It has no clock that means anything, so ``kernel_times`` is refused.

    Args:
        bundle: the bundle; it stays the caller's.
        device: an emulated one.
        threads: threads of the program, the caller's included.
        counting: load the counting plugin, which makes the emulator several times slower.

    Raises:
        DeviceError: packages are missing, the bundle is for another target, or the runner cannot be
            built or started.
        BundleError: the program is not the one that the manifest describes.
    """

    times_kernels = False

    def __init__(
        self, bundle: Bundle, device: Device, threads: int = 1, *, counting: bool = False
    ) -> None:
        self._manifest = manifest = bundle.manifest
        self._taps = {str(tap.name): (index, tap) for index, tap in manifest.taps()}
        require_target(device, manifest.target.name)
        self._shapes = Shapes(manifest)
        self._current = {dim.name: dim.max for dim in manifest.dims}
        device.require()
        timeout = timeout_from(os.environ)
        scratch = tempfile.TemporaryDirectory(prefix="millijoule-device-")
        try:
            folder = Path(scratch.name)
            tail = prepare(bundle, device, folder)
            head = [device.emulator, "-cpu", device.cpu]
            self._counters = None
            if counting:
                self._counters = Counters(folder / "counts", len(manifest.kernels))
                shutil.copy(plugin_library(device), folder)
                head += ["-plugin", plugin_option(device, self._counters)]
            channel = Channel(device.name, [*head, *tail], folder, timeout)
        except BaseException:
            scratch.cleanup()
            raise
        self._finalizer = weakref.finalize(self, _end, channel, scratch)
        self._requests = Requests(channel, manifest)
        try:
            check_greeting(self._requests.hello(), manifest)
            self.set_threads(threads)
        except BaseException:
            self.close()
            raise

    def run(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Run once; see :meth:`Program.run`."""
        self._run(inputs, outputs, {}, 0)

    def run_tapped(
        self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], taps: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Run once and read kernel outputs; see :meth:`Program.run_tapped`."""
        for name in taps:
            if name not in self._taps:
                valid = ", ".join(self._taps) or "none in this program"
                raise UsageError(f"unknown tap {name!r}; taps: {valid}")
        if len(taps) > _MAX_TAPS:
            raise UsageError(f"at most {_MAX_TAPS} taps at once, but {len(taps)} were asked for")
        wanted = {name: self._taps[name] for name in taps}
        values, _ = self._run(inputs, outputs, wanted, 0)
        return values

    def run_counted(
        self,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
        *,
        kernels: bool = False,
        stack: bool = False,
    ) -> RunCounts:
        """Run once and count instructions.

        Args:
            kernels: also per kernel, by a hook of its own cost: see
                :mod:`millijoule.profiling.instructions`.
            stack: also find out how deep the stack went.

        Raises:
            UsageError: the program was opened without ``counting``.
            DeviceError: the run failed.
        """
        before = self._read_counters()
        flags = COUNT_KERNELS * kernels | PAINT_STACK * stack
        _, used = self._run(inputs, outputs, {}, flags)
        after = self._read_counters()
        if after.runs - before.runs != 1:
            raise DeviceError(f"[device] the plugin saw {after.runs - before.runs} runs, not one")
        return RunCounts(
            after.instructions - before.instructions, after.kernels - before.kernels, used
        )

    def reset(self) -> None:
        """Put every state back to its initial value."""
        self._requests.reset()

    def set_threads(self, threads: int) -> None:
        """Use ``threads`` threads; see :meth:`Program.set_threads`."""
        if not 1 <= threads <= 1024:
            raise UsageError(f"threads must be 1 to 1024, but received {threads}")
        self._requests.set_threads(threads)

    def kernel_times(self, on: bool) -> None:
        """Refused: an emulator knows instructions, not time."""
        if on:
            raise UsageError("an emulated device has no clock to time kernels with")

    def kernel_ns(self) -> np.ndarray:
        """Zeros: there are no times."""
        return np.zeros(len(self._manifest.kernels), np.uint64)

    def clear_kernel_ns(self) -> None:
        """Nothing to clear."""

    def close(self) -> None:
        """End the emulator; may be called again."""
        self._finalizer()

    def _run(
        self,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
        taps: dict[str, tuple[int, KernelOutput]],
        flags: int,
    ) -> tuple[dict[str, np.ndarray], int]:
        """Values of ``taps`` and bytes of stack used; ``outputs`` are filled."""
        self._set_sizes(inputs)
        manifest = self._manifest
        inputs_now, outputs_now = map(self._now, (manifest.inputs, manifest.outputs))
        _check(inputs_now, inputs)
        _check(outputs_now, outputs)
        taps = {name: (index, self._now([tap])[0]) for name, (index, tap) in taps.items()}
        filled = list(zip(outputs_now, outputs, strict=True))
        return self._requests.run(inputs, filled, taps, flags)

    def _now(self, specs: Sequence[Spec]) -> list[Spec]:
        """Tensors with the shapes of the current sizes."""
        return [replace(s, shape=self._shapes.of(s, self._current), sizes=None) for s in specs]

    def _set_sizes(self, inputs: Sequence[np.ndarray]) -> None:
        """Tell the program the sizes that ``inputs`` have, those that are new."""
        sizes = self._shapes.sizes(inputs)
        for index, name in enumerate(self._shapes.dims):
            size = sizes.get(name, self._current[name])  # too few arrays are refused below
            if size != self._current[name]:
                self._requests.set_size(index, name, size)
                self._current[name] = size

    def _read_counters(self) -> Counts:
        if self._counters is None:
            raise UsageError("the program was opened without counting")
        return self._counters.read()


def _end(channel: Channel, scratch: tempfile.TemporaryDirectory[str]) -> None:
    channel.close()
    scratch.cleanup()


def _check(specs: Sequence[TensorSpec], arrays: Sequence[np.ndarray]) -> None:
    if len(arrays) != len(specs):
        raise UsageError(f"the program takes {len(specs)} arrays, but received {len(arrays)}")
    for spec, array in zip(specs, arrays, strict=True):
        if array.shape != spec.shape or array.dtype != spec.dtype:
            raise UsageError(
                f"[{spec.name}] must be {spec.dtype} of shape {list(spec.shape)}, but received"
                f" {array.dtype} of shape {list(array.shape)}"
            )
