"""Time per kernel of a program beside its floor: what the machine's own limits would allow.

The floor of a dense kernel is the larger of its multiply-adds over the peak of one core and the
bytes that it reads and writes over read bandwidth; that of a spike-driven kernel is the bytes of
the weight rows that its spikes make it add, over read bandwidth. Peak and bandwidth are measured in
the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from millijoule import Session
from millijoule.bundle import Kernel
from mjbench.native import Loops

SMALLEST_READ = 1 << 14  # fits the first-level cache; smaller reads cannot be timed
MIN_SHARE = 0.01  # kernels that take less of the time are left out


@dataclass(frozen=True)
class KernelRow:
    """One kernel: median µs per call, and the floor in µs (0 if nothing bounds it but overhead)."""

    name: str
    layer: str
    us: float
    floor_us: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def kernel_rows(
    session: Session,
    call: Callable[[], object],
    repeats: int,
    spikes: Mapping[str, float],
    loops: Loops,
    *,
    streaming: bool,
) -> list[KernelRow]:
    """Time the kernels of ``repeats`` calls of ``call``, slowest first.

    Args:
        session: whose program ``call`` runs once.
        spikes: mean number of spikes per call by tap.
        streaming: weights are read once per call, so they come from the cache that holds them all;
            otherwise a kernel reads its own again and again.
    """
    program = session.program
    kernels = session.manifest.kernels
    program.kernel_times(True)
    rows = []
    for _ in range(repeats):
        program.clear_kernel_ns()
        call()
        rows.append(program.kernel_ns())
    program.kernel_times(False)
    times = np.median(np.array(rows), axis=0) / 1e3
    everything = sum(kernel.weight_bytes for kernel in kernels)
    found = [
        KernelRow(
            kernel.name,
            kernel.layer,
            float(us),
            floor_us(kernel, spikes, loops, everything if streaming else kernel.weight_bytes),
        )
        for kernel, us in zip(kernels, times, strict=True)
        if us >= MIN_SHARE * times.sum()
    ]
    return sorted(found, key=lambda row: -row.us)


def floor_us(
    kernel: Kernel, spikes: Mapping[str, float], loops: Loops, resident_bytes: int
) -> float:
    """The floor of one kernel whose weights share a cache with ``resident_bytes`` in all."""
    if kernel.op == "lmu_step":
        return 0.0  # how much of its weights a step reads depends on how long the stream is
    moved = kernel.bytes_read + kernel.bytes_written
    if kernel.spike_input is not None:
        moved = int(4 * spikes[kernel.spike_input.tap] * kernel.spike_input.adds_per_spike)
    cache_bytes = resident_bytes if kernel.weight_bytes else moved
    from_memory = moved / loops.read_gb_per_s(max(cache_bytes, SMALLEST_READ)) / 1e3
    return max(from_memory, kernel.multiplies / loops.mac_per_ns() / 1e3)


def mean_spikes(session: Session, x: np.ndarray, calls: int) -> dict[str, float]:
    """Spikes per call of the program by tap, when a run of ``x`` takes ``calls`` calls."""
    taps = {k.spike_input.tap for k in session.manifest.kernels if k.spike_input is not None}
    values = session.run({"x": x}, taps=sorted(taps))
    return {tap: float(np.sum(values[tap], dtype=np.float64)) / calls for tap in taps}
