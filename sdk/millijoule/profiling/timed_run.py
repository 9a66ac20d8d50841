"""The timed run, and the energy of the same calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..energy import Meter, UnavailableError
from .energy import measured_energy, no_energy
from .latency import CLOCK, time_calls, warm_up
from .stats import Stability, stability, summarize
from .workload import Workload


class TimedRun:
    """The timed run; called once per attempt, by the energy meter if there is one."""

    def __init__(self, workload: Workload, iterations: int, warmup: int, seconds: float) -> None:
        self._workload = workload
        self._iterations = iterations
        self._warmup = warmup
        self._seconds = seconds
        self._samples = np.empty(0, np.int64)

    def __call__(self) -> int:
        upcoming = warm_up(self._workload, self._warmup)
        self._samples = time_calls(self._workload, upcoming, self._iterations, self._seconds)
        return self._warmup + len(self._samples)  # the energy window holds the warm-up as well

    @property
    def stability(self) -> Stability:
        """Of the last attempt."""
        return stability(self._samples)

    def warnings(self) -> list[str]:
        """What is wrong with the last attempt."""
        verdict = self.stability
        return [] if verdict.stable else [f"latency is not stable: {verdict.reason}"]

    def latency(self, percentiles: Sequence[float]) -> dict[str, Any]:
        """The section of the profile."""
        return {
            "status": "measured",
            "source": CLOCK,
            "warmup": self._warmup,
            **summarize(self._samples, percentiles),
            "stability": self.stability.to_dict(),
            "samples_ns": self._samples.tolist(),
        }


def measure_run(
    run: TimedRun, meter: Meter | None, no_meter: str, idle_seconds: float | None, attempts: int
) -> dict[str, Any]:
    """Run until stable, at most ``attempts`` times; returns the energy of the last attempt."""
    energy: dict[str, Any] = {}
    for _ in range(attempts):
        if meter is None:
            run()
            energy = no_energy(no_meter)
        else:
            energy = _with_meter(meter, run, idle_seconds)
        if run.stability.stable:
            break
    return energy


def _with_meter(meter: Meter, run: TimedRun, idle_seconds: float | None) -> dict[str, Any]:
    try:
        return measured_energy(meter, run, idle_seconds)
    except UnavailableError as error:
        raise UnavailableError(f"[energy] {meter.name} failed during the run: {error}") from None
