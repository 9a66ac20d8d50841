"""Timing program calls: warm-up, raw samples, cold start, and long runs."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Any

import numpy as np

from ..energy import Figure
from .stats import NS_PER_MS
from .workload import Call, Workload

CLOCK = "time.perf_counter_ns around Program.run"
SUSTAINED_WINDOW_S = 1.0


def warm_up(workload: Workload, calls: int) -> Iterator[Call]:
    """Run ``calls`` untimed calls; returns an endless iterator that starts over."""
    for call in islice(cycle(workload.calls), calls):
        workload.prepare(call)
        workload.run(call)
    return cycle(workload.calls)


def time_calls(
    workload: Workload,
    upcoming: Iterator[Call],
    iterations: int,
    duration: float,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> np.ndarray:
    """Time at least ``iterations`` calls and at least ``duration`` seconds.

    Returns:
        Samples ``[n]`` int64, nanoseconds per call, in order.
    """
    samples = array("q")
    prepare, run = workload.prepare, workload.run
    end = clock() + round(duration * 1e9)
    while len(samples) < iterations or clock() < end:
        call = next(upcoming)
        prepare(call)
        start = clock()
        run(call)
        samples.append(clock() - start)
    return np.frombuffer(samples, np.int64).copy()


def cold_start(open_program: Callable[[], Callable[[], None]]) -> dict[str, Figure]:
    """Time from nothing to the first result, in this process.

    Args:
        open_program: Loads the bundle anew and returns a function that runs the first inference.

    Returns:
        ``load_ms``, ``first_inference_ms`` and their sum ``total_ms``.
    """
    begin = time.perf_counter_ns()
    first = open_program()
    loaded = time.perf_counter_ns()
    first()
    done = time.perf_counter_ns()
    spans = {
        "load_ms": loaded - begin,
        "first_inference_ms": done - loaded,
        "total_ms": done - begin,
    }
    source = "time.perf_counter_ns, file pages already in memory"
    return {name: Figure.measured(ns / NS_PER_MS, "ms", source) for name, ns in spans.items()}


def sustain(
    workload: Workload,
    duration: float,
    observe: Callable[[], dict[str, float]],
    window_s: float = SUSTAINED_WINDOW_S,
) -> dict[str, Any]:
    """Run for ``duration`` seconds and follow the latency over time.

    Args:
        workload: What to run.
        duration: Seconds.
        observe: Clock frequency and temperature, asked once per window, untimed.
        window_s: Length of a window; samples are summarised per window to bound memory.

    Returns:
        ``windows`` (``t_s``, ``count``, ``median_ms``, ``p99_ms``, ``max_ms`` and what ``observe``
        gives) and ``slowdown``: the median of the last tenth of the windows over the first tenth,
        minus 1.
    """
    begin = time.perf_counter()
    windows: list[dict[str, float]] = []
    upcoming = cycle(workload.calls)
    while (elapsed := time.perf_counter() - begin) < duration:
        ms = time_calls(workload, upcoming, 1, min(window_s, duration - elapsed)) / NS_PER_MS
        windows.append(
            {
                "t_s": elapsed,
                "count": len(ms),
                "median_ms": float(np.median(ms)),
                "p99_ms": float(np.percentile(ms, 99)),
                "max_ms": float(ms.max()),
                **observe(),
            }
        )
    tenth = max(1, len(windows) // 10)
    medians = [window["median_ms"] for window in windows]
    slowdown = float(np.median(medians[-tenth:]) / np.median(medians[:tenth])) - 1
    return {"status": "measured", "duration_s": duration, "windows": windows, "slowdown": slowdown}
