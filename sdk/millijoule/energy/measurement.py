"""Measuring the energy of a workload: idle, workload, idle, all on the same meter.

``E_net = E − P_idle · T`` with ``P_idle`` the mean of the idle power before and after. The bound on
``E`` is the edge error of its window; the bound on ``E_net`` adds the edge errors of the idle
windows and half of the drift between them, each times ``T``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .figure import Figure
from .meter import Energy, Meter

# An edge error of 2·Δt·P over T·P is 1 % at T = 200 Δt.
INTERVALS_FOR_ONE_PERCENT = 200
# The readings of a busy machine come a little late: 1 % is aimed at, 2 % is worth a warning.
LARGE_EDGE_ERROR = 0.02
LARGE_DRIFT = 0.05
MIN_IDLE_S = 2.0
IDLE_INTERVALS = 50


@dataclass(frozen=True)
class EnergyMeasurement:
    """Energy per run of a workload.

    Attributes:
        source, covers: The meter and what its total includes.
        runs: Number of runs in the window.
        energy_mj: Energy per run, everything the meter covers.
        net_energy_mj: The same above the idle baseline.
        power_w: Mean power over the window.
        idle_before_w, idle_after_w: Mean idle power before and after the window.
        channels_mj: Energy per run of every channel (also of those inside the total).
        readings: Number of meter readings in the window.
        warnings: What weakens the figures and what to do about it.
    """

    source: str
    covers: str
    runs: int
    energy_mj: Figure
    net_energy_mj: Figure
    power_w: Figure
    idle_before_w: Figure
    idle_after_w: Figure
    channels_mj: dict[str, Figure]
    readings: int
    warnings: list[str] = field(default_factory=list)


def recommended_window_s(meter: Meter) -> float:
    """Window length at which the edge error is at most 1 %."""
    return INTERVALS_FOR_ONE_PERCENT * meter.interval_s


def default_idle_s(meter: Meter) -> float:
    """Length of each idle window when the user names none."""
    return max(MIN_IDLE_S, IDLE_INTERVALS * meter.interval_s)


def measure(
    meter: Meter,
    workload: Callable[[], int],
    *,
    idle_seconds: float | None = None,
    background: bool = True,
    clock: Callable[[], int] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> EnergyMeasurement:
    """Measure ``workload`` between two idle windows.

    Args:
        meter: An available meter, see :func:`millijoule.energy.select`.
        workload: Runs the thing to be measured and returns how many runs that were (≥ 1).
        idle_seconds: Length of each idle window, 0 for no baseline; default
            :func:`default_idle_s`.
        background, clock: See :class:`~millijoule.energy.meter.Recording`.
        sleep: How to be idle.

    Raises:
        UnavailableError: A reading failed during one of the windows.
    """
    idle = default_idle_s(meter) if idle_seconds is None else idle_seconds

    def window(action: Callable[[], object]) -> Energy:
        with meter.record(background=background, clock=clock) as recording:
            action()
        return recording.energy()

    runs = 0

    def count() -> None:
        nonlocal runs
        runs = workload()

    before = window(lambda: sleep(idle)) if idle > 0 else None
    active = window(count)
    after = window(lambda: sleep(idle)) if idle > 0 else None
    return _assemble(meter, runs, active, before, after)


def _assemble(
    meter: Meter, runs: int, active: Energy, before: Energy | None, after: Energy | None
) -> EnergyMeasurement:
    details = {"window_s": active.seconds, "interval_s": active.interval_s}
    joules = Figure.measured(
        active.joules, "J", meter.name, uncertainty=active.uncertainty_j, **details
    )
    power = joules.scaled(1.0 / active.seconds, "W")
    no_baseline = Figure.unavailable("W", "no idle baseline: idle_seconds is 0")
    return EnergyMeasurement(
        source=meter.name,
        covers=meter.covers,
        runs=runs,
        energy_mj=joules.scaled(1e3 / runs, "mJ"),
        net_energy_mj=_net(meter, active, before, after).scaled(1e3 / runs, "mJ"),
        power_w=power,
        idle_before_w=_mean_power(meter, before) if before else no_baseline,
        idle_after_w=_mean_power(meter, after) if after else no_baseline,
        channels_mj={
            name: Figure.measured(1e3 * value / runs, "mJ", f"{meter.name}/{name}", **details)
            for name, value in active.channels.items()
        },
        readings=active.readings,
        warnings=_warnings(active, before, after),
    )


def _mean_power(meter: Meter, energy: Energy) -> Figure:
    return Figure.measured(
        energy.watts,
        "W",
        meter.name,
        window_s=energy.seconds,
        interval_s=energy.interval_s,
        uncertainty=energy.uncertainty_j / energy.seconds,
    )


def _net(meter: Meter, active: Energy, before: Energy | None, after: Energy | None) -> Figure:
    if before is None or after is None:
        return Figure.unavailable("J", "no idle baseline: idle_seconds is 0")
    idle_w = (before.watts + after.watts) / 2
    drift_w = abs(after.watts - before.watts) / 2
    edges_w = (before.uncertainty_j / before.seconds + after.uncertainty_j / after.seconds) / 2
    return Figure.measured(
        active.joules - idle_w * active.seconds,
        "J",
        meter.name,
        window_s=active.seconds,
        interval_s=active.interval_s,
        uncertainty=active.uncertainty_j + (drift_w + edges_w) * active.seconds,
        idle_w=idle_w,
    )


def _warnings(active: Energy, before: Energy | None, after: Energy | None) -> list[str]:
    notes = []
    if active.uncertainty_j > LARGE_EDGE_ERROR * abs(active.joules):
        share = 2.0 * active.interval_s / active.seconds
        needed = INTERVALS_FOR_ONE_PERCENT * active.interval_s
        notes.append(
            f"energy is uncertain by {share:.0%}: the window was {active.seconds:.2g} s at "
            f"{active.interval_s * 1e3:.3g} ms per reading; use --duration {needed:.3g} for 1 %"
        )
    if before and after and abs(after.watts - before.watts) > LARGE_DRIFT * abs(before.watts):
        notes.append(
            f"idle power drifted from {before.watts:.3g} W to {after.watts:.3g} W; let the device "
            "cool down, stop other work, or lengthen --idle-seconds"
        )
    return notes
