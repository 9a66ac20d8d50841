"""What every executor offers: a loaded program that can be run, timed per kernel, and tapped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from ..bundle import Manifest

__all__ = ["ALIGNMENT", "Program", "aligned_empty", "failure", "look_and_run", "run_finite_of"]

#: Alignment in bytes of every buffer that a program reads or writes (``MJ_ALIGNMENT``).
ALIGNMENT = 64


class Program(Protocol):
    """A program in memory with its own arena and states; one thread at a time may use it.

    Arrays are C-contiguous, in the order, shapes and dtypes of the manifest. ``times_kernels``: it
    can tell the time of every kernel.
    """

    times_kernels: bool

    def run(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Run once (a streaming program: one step), filling ``outputs``.

        Raises:
            DeviceError: a kernel failed; the message names it.
            UsageError: arrays that do not fit the manifest, or a closed program.
        """

    def run_tapped(
        self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], taps: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Run once and return copies of the named kernel outputs; raises as :meth:`run` does.

        Raises:
            UsageError: a name that is not a tap of this program.
        """

    def reset(self) -> None:
        """Put every state back to its initial value."""

    def set_threads(self, threads: int) -> None:
        """Use ``threads`` threads, the caller's own included.

        Raises:
            UsageError: fewer than one, or more than any program takes.
            DeviceError: they could not be started.
        """

    def kernel_times(self, on: bool) -> None:
        """Turn timing per kernel on (from zero) or off."""

    def kernel_ns(self) -> np.ndarray:
        """Nanoseconds spent per kernel, uint64, summed since timing was turned on or cleared."""

    def clear_kernel_ns(self) -> None:
        """Set the times per kernel back to zero."""

    def close(self) -> None:
        """Stop threads and free memory; may be called again."""


def aligned_empty(shape: tuple[int, ...], dtype: str | np.dtype) -> np.ndarray:
    """Uninitialised array whose data starts at a multiple of :data:`ALIGNMENT` bytes."""
    kind = np.dtype(dtype)
    raw = np.empty(math.prod(shape) * kind.itemsize + ALIGNMENT, np.uint8)
    return np.ndarray(shape, kind, raw, -raw.ctypes.data % ALIGNMENT)


RunFinite = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], bool]
"""Runs once as :meth:`Program.run` and returns True; or, if an input holds NaN or infinity, does
nothing and returns False."""


def run_finite_of(program: Program) -> RunFinite:
    """What runs ``program`` on finite inputs only: its own ``run_finite``, if it has such a method
    because it looks faster than NumPy does."""
    own: RunFinite | None = getattr(program, "run_finite", None)
    return own or partial(look_and_run, program)


def look_and_run(
    program: Program, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]
) -> bool:
    """A :data:`RunFinite` for any program."""
    if not all(np.isfinite(array).all() for array in inputs):
        return False
    program.run(inputs, outputs)
    return True


def failure(manifest: Manifest, what: str, reason: str, kernel: int) -> str:
    """The message for a status of the C API; ``kernel`` is the one that failed, or -1."""
    if 0 <= kernel < len(manifest.kernels):
        failed = manifest.kernels[kernel]
        reason += f" in kernel {failed.name!r} (layer {failed.layer!r}, number {kernel})"
    return f"{what}: {reason}"
