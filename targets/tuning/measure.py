"""Times of the kernels of two programs that do the same, taken in turn.

::

    round 1   A A A  B B B     round 2   B B B  A A A     …     median of the rounds per kernel

Each round gives every kernel its mean time in that program, with the caches as the program leaves
them. Going in turn, both see the same clock and the same neighbours.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from millijoule.profiling.workload import Workload
from millijoule.session import Session

_ROUNDS = 21
_ROUND_NS = 20_000_000
_WARMUP = 3


def kernel_times(
    one: Session, other: Session, progress: Callable[[int, int], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Median nanoseconds of every kernel per call of the program, of either program.

    Inputs are the bundles' samples. ``progress``: called with rounds done, and of how many.
    """
    loads = [_load(session) for session in (one, other)]
    passes = max(1, int(_ROUND_NS / max(_pass_ns(load) for load in loads)))
    times: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for number in range(_ROUNDS):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for index in order:
            times[index].append(_round(loads[index], passes))
        progress(number + 1, _ROUNDS)
    first, second = (np.median(np.stack(t), axis=0) for t in times)
    return first, second


def _load(session: Session) -> Workload:
    inputs, _ = next(iter(session.bundle.all_samples()))
    load = Workload(session.manifest, session.program, inputs)
    session.program.kernel_times(True)
    for _ in range(_WARMUP):
        _pass(load)
    return load


def _pass(load: Workload) -> None:
    for call in load.calls:
        load.prepare(call)
        load.run(call)


def _pass_ns(load: Workload) -> int:
    start = time.perf_counter_ns()
    _pass(load)
    return max(time.perf_counter_ns() - start, 1)


def _round(load: Workload, passes: int) -> np.ndarray:
    load.program.clear_kernel_ns()
    for _ in range(passes):
        _pass(load)
    return np.asarray(load.program.kernel_ns() / (passes * len(load.calls)), np.float64)
