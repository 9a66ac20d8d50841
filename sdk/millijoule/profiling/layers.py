"""Time per kernel, joined with the manifest's kernel list, by layer and by operator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import cycle, islice
from typing import Any

import numpy as np

from ..bundle import Kernel
from .stats import NS_PER_MS
from .workload import Workload

MIN_CALLS = 10
MAX_CALLS = 20_000
MIN_SECONDS = 0.5
GLUE = "(glue)"


def time_kernels(
    workload: Workload, kernels: tuple[Kernel, ...], seconds: float = MIN_SECONDS
) -> dict[str, Any]:
    """Time of every kernel over at least 10 calls and ``seconds`` seconds.

    The times are means over the middle half of the calls by total time (interquartile mean): calls
    that the system interrupted drop out, and kernels still add up to the call. The clock hooks are
    on during these calls only, never while latency or energy is measured.

    Returns:
        ``kernels``, ``layers`` and ``ops`` (each with ``time_ms`` per program call and ``share``
        of the kernel time), ``total_ms``, ``calls`` and ``hooked_call_ms`` (the call as a whole
        with the hooks on).
    """
    walls, times = _hooked_calls(workload, seconds)
    order = np.argsort(walls, kind="stable")
    middle = order[len(order) // 4 : len(order) - len(order) // 4]
    mean_ms = times[middle].mean(axis=0) / NS_PER_MS
    total = float(mean_ms.sum())
    rows = [
        {
            "name": kernel.name,
            "op": kernel.op,
            "layer": kernel.layer or GLUE,
            "time_ms": float(ms),
            "share": float(ms) / total if total else 0.0,
        }
        for kernel, ms in zip(kernels, mean_ms, strict=True)
    ]
    return {
        "status": "measured",
        "source": "clock hooks around each kernel, interquartile mean",
        "calls": len(walls),
        "total_ms": total,
        "hooked_call_ms": float(walls[middle].mean()) / NS_PER_MS,
        "kernels": rows,
        "layers": _group(rows, lambda row: row["layer"], total),
        "ops": _group(rows, lambda row: row["op"], total),
    }


def _hooked_calls(workload: Workload, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Time in ns of whole calls ``[n]`` and of their kernels ``[n, kernels]``."""
    program = workload.program
    walls: list[int] = []
    times: list[np.ndarray] = []
    program.kernel_times(True)
    try:
        end = time.perf_counter() + seconds
        for call in cycle(workload.calls):
            if len(walls) >= MAX_CALLS or (len(walls) >= MIN_CALLS and time.perf_counter() > end):
                break
            workload.prepare(call)
            program.clear_kernel_ns()
            start = time.perf_counter_ns()
            workload.run(call)
            walls.append(time.perf_counter_ns() - start)
            times.append(np.array(program.kernel_ns(), np.float64))
    finally:
        program.kernel_times(False)
    return np.array(walls, np.float64), np.stack(times)


def _group(
    rows: Iterable[dict[str, Any]], key: Callable[[dict[str, Any]], str], total: float
) -> list[dict[str, Any]]:
    """Sum of time and number of kernels per key, in order of first appearance."""
    groups: dict[str, dict[str, Any]] = {}
    for row in rows:
        group = groups.setdefault(key(row), {"name": key(row), "kernels": 0, "time_ms": 0.0})
        group["kernels"] += 1
        group["time_ms"] += row["time_ms"]
    return [
        {**group, "share": group["time_ms"] / total if total else 0.0} for group in groups.values()
    ]


def one_run(workload: Workload) -> dict[str, Any]:
    """The kernel times of a single call, for the trace.

    A stream is first driven to the middle of its first sequence, so that its states are filled.
    """
    length = next((i for i, c in enumerate(workload.calls) if c.starts and i), len(workload.calls))
    program = workload.program
    program.kernel_times(True)
    try:
        for call in islice(workload.calls, length // 2 + 1):
            workload.prepare(call)
            program.clear_kernel_ns()
            start = time.perf_counter_ns()
            workload.run(call)
            wall = time.perf_counter_ns() - start
        times = [int(ns) for ns in program.kernel_ns()]
    finally:
        program.kernel_times(False)
    return {"call": length // 2, "wall_ns": wall, "kernel_ns": times}
