"""The C loops of ``loops.c``: steps through the C entry point, bandwidth, arithmetic."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from millijoule import Session
from millijoule.executors import aligned_empty
from millijoule.targets.toolchain import find_compiler

_SOURCE = Path(__file__).with_name("loops.c")
_SHORTEST_NS, _TRIES = 1_000_000, 30


class Loops:
    """``loops.c`` compiled for this machine into ``folder``."""

    def __init__(self, folder: Path) -> None:
        library = folder / "loops.so"
        flags = ("-O3", "-march=native", "-ffp-contract=fast", "-std=gnu11", "-shared", "-fPIC")
        find_compiler().run([*flags, str(_SOURCE), "-o", str(library)])
        self._lib = ctypes.CDLL(str(library))
        self._lib.mjb_read_rows.restype = ctypes.c_uint64
        self._lib.mjb_multiply_add.restype = ctypes.c_uint64

    def time_steps(self, session: Session, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Steps ``frames [N, F]`` from a reset state through ``mj_run``, called from C.

        Returns nanoseconds [N] uint64 and logits [N, C].
        """
        program: Any = session.program
        program.reset()
        steps, width = frames.shape
        classes = session.outputs[0].shape[-1]
        logits = aligned_empty((classes,), "float32")
        outputs, ns = np.zeros((steps, classes), np.float32), np.zeros(steps, np.uint64)
        # The executor keeps its library and context to itself; only a benchmark goes past it.
        entry, context = program._lib.mj_run, program._ctx
        status = self._lib.mjb_time_steps(
            ctypes.cast(entry, ctypes.c_void_p),
            context,
            ctypes.c_void_p(frames.ctypes.data),
            steps,
            width,
            ctypes.c_void_p(logits.ctypes.data),
            ctypes.c_void_p(outputs.ctypes.data),
            classes,
            ctypes.c_void_p(ns.ctypes.data),
        )
        if status:
            raise RuntimeError(f"mj_run failed with status {status}")
        return ns, outputs

    @cache  # noqa: B019 - one instance, a handful of sizes
    def read_gb_per_s(self, nbytes: int) -> float:
        """GB/s of reading ``nbytes`` again and again on one core: the best of several tries."""
        width = 256
        rows = nbytes // (4 * width)
        data = aligned_empty((rows, width), "float32")
        data[...] = 1
        sink = ctypes.c_float()

        def read(passes: int) -> int:
            spent = self._lib.mjb_read_rows(
                ctypes.c_void_p(data.ctypes.data),
                ctypes.c_long(rows),
                ctypes.c_long(width),
                ctypes.c_long(passes),
                ctypes.byref(sink),
            )
            return int(spent)

        return data.nbytes / _fastest_ns(read)

    @cache  # noqa: B019 - one instance
    def mac_per_ns(self) -> float:
        """Float32 multiply-adds per nanosecond of one core, registers only."""
        sink = ctypes.c_float(1e-3)

        def compute(passes: int) -> int:
            return int(self._lib.mjb_multiply_add(ctypes.c_long(passes), ctypes.byref(sink)))

        return 16 * 16 / _fastest_ns(compute)


def _fastest_ns(run: Callable[[int], int]) -> float:
    """Nanoseconds per pass of ``run(passes)``: the best of several runs long enough to time."""
    passes = 1
    while run(passes) < _SHORTEST_NS:
        passes *= 2
    return min(run(passes) for _ in range(_TRIES)) / passes
