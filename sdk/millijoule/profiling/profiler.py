"""``mj.profile``: one measurement of one program, from conditions to energy.

Order of events: warm-up and latency (inside the energy window when there is a meter, so that both
come from the same run), peak memory, cold start, the long run if asked for, and last the kernel
times and spike counts, whose hooks must not disturb the figures before them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bundle import Manifest
from ..energy import AUTO, TABLES, Figure, Meter, cost_table, recommended_window_s
from ..errors import UsageError, VerificationError
from ..executors import CHECKERS, LOCAL, open_program
from .baseline import FORMAT, SCHEMA
from .conditions import Machine, condition_warnings, record_conditions
from .describe import describe
from .energy import choose_meter, estimated_energy
from .latency import cold_start, sustain
from .layers import one_run, time_kernels
from .memory import memory_figures
from .operations import count_operations
from .result import Profile
from .sizes import inputs_to_profile, manifest_of
from .timed_run import TimedRun, measure_run
from .workload import Workload

if TYPE_CHECKING:
    from ..session import Session

ITERATIONS = 10
WARMUP = 10
DURATION_S = 3.0
SUSTAINED_S = 300.0
PERCENTILES = (50.0, 90.0, 95.0, 99.0)
STABLE_ATTEMPTS = 3


def profile(
    session: Session,
    inputs: Mapping[str, np.ndarray] | None = None,
    *,
    sizes: Mapping[str, int] | None = None,
    iterations: int = ITERATIONS,
    warmup: int = WARMUP,
    duration: float | None = None,
    percentiles: Sequence[float] = PERCENTILES,
    threads: int | None = None,
    energy: str | Meter = AUTO,
    idle_seconds: float | None = None,
    layers: bool = True,
    stable: bool = False,
    sustained: bool = False,
    cost_tables: Sequence[str] = tuple(TABLES),
    command: Sequence[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Profile:
    """Measure a loaded bundle.

    On an emulated device instructions are counted instead of time and energy, over one pass of the
    inputs: they are the same each time, so ``iterations`` and ``warmup`` do nothing there.

    For a streaming bundle one call is one step (one frame); sequences are fed frame by frame and
    states are reset between them.

    Args:
        session: From :func:`millijoule.load`.
        inputs: Arrays by name as for ``session.run``; default: the samples in the bundle.
        sizes: Of dimensions that vary, by name (``{"seq": 128}``): the bundle's sample is cut or
            repeated to them. Default: the sizes of the inputs. Counts are those of the sizes.
        iterations: Time at least this many calls (≥ 1) …
        duration: … and at least this many seconds. Default 3, or the window that the energy meter
            needs for an edge error of 1 %, whichever is longer. With ``sustained`` the length of
            the long run, default 300.
        warmup: Untimed calls before.
        percentiles: Percentiles of the latency to report, each within 0…100.
        threads: Threads, the caller's included; default: as loaded.
        energy: ``auto`` (the best meter that covers this processor, if there is any), ``off``, the
            name of a source, or a :class:`~millijoule.energy.Meter`.
        idle_seconds: Length of the idle windows before and after; 0 for no baseline.
        layers: Also time every kernel, count operations and spikes, and estimate energy.
        stable: Measure up to three times until the latency is stable; else VerificationError.
        sustained: Add a long run that follows latency, clock and temperature over time.
        cost_tables: Tables for the estimates, see :data:`millijoule.energy.TABLES`.
        command: Command line to record; default ``sys.argv``.
        progress: Called with a line of text before each stage.

    Raises:
        UsageError: Bad arguments or inputs.
        DeviceError: The program failed, or the named energy source gives no reading.
        VerificationError: ``stable`` was asked for and not reached.
    """
    _check(iterations, warmup, duration, percentiles, idle_seconds, sustained)
    for name in cost_tables:
        cost_table(name)  # an unknown name must not cost a measurement first
    say = progress or (lambda text: None)
    used_threads = session.threads if threads is None else threads
    if session.device in CHECKERS:
        raise UsageError(
            f"[profile] device {session.device} only checks programs, and its time is not that of"
            f" target {session.manifest.target.name}; profile on the device itself"
        )
    if session.device != LOCAL:
        from .emulated import profile_emulated  # what it needs is not on every device

        return profile_emulated(
            session,
            inputs_to_profile(session, inputs, sizes),
            energy=energy,
            refused={
                "duration": duration is not None,
                "idle_seconds": idle_seconds is not None,
                "stable": stable,
                "sustained": sustained,
                "threads": used_threads > 1,
            },
            layers=layers,
            cost_tables=cost_tables,
            command=command,
            progress=say,
        )
    session.program.set_threads(used_threads)
    try:
        arrays = inputs_to_profile(session, inputs, sizes)
        workload = Workload(session.manifest, session.program, arrays)
        meter, no_meter = choose_meter(energy)
        conditions = record_conditions(used_threads, command)

        say("latency and energy" if meter else "latency")
        seconds = _window(meter, None if sustained else duration)
        run = TimedRun(workload, iterations, warmup, seconds)
        energy_data = measure_run(
            run, meter, no_meter, idle_seconds, STABLE_ATTEMPTS if stable else 1
        )
        if stable and not run.stability.stable:
            raise VerificationError(
                f"[profile] latency is not stable after {STABLE_ATTEMPTS} runs: "
                f"{run.stability.reason}"
            )
        # Before the stages that need memory of their own.
        memory = _plain(memory_figures(session.manifest))
        say("cold start")
        cold = cold_start(lambda: _first_inference(session, used_threads, workload))
        if sustained:
            say("sustained run")
        long_run = _long_run(workload, duration) if sustained else None
        if layers:
            say("kernels, spikes, operations")
        details = _details(session, workload, cost_tables) if layers else _NO_DETAILS
    finally:
        session.program.set_threads(session.threads)
        session.program.reset()
    latency = run.latency(percentiles)
    return Profile(
        {
            "format": FORMAT,
            "schema": SCHEMA,
            "bundle": describe(session.manifest),
            "unit": workload.unit,
            "sizes": workload.sizes,
            "conditions": conditions,
            "latency": latency,
            "cold_start": _plain(cold),
            "real_time": _real_time(session.manifest, workload, latency["median_ms"]),
            "sustained": long_run,
            "energy": {"measured": energy_data, "estimated": details["estimated"]},
            "layers": details["layers"],
            "run": details["run"],
            "operations": details["operations"],
            "memory": memory,
            "warnings": [
                *condition_warnings(conditions),
                *run.warnings(),
                *energy_data.get("warnings", []),
            ],
        }
    )


def _long_run(workload: Workload, duration: float | None) -> dict[str, Any]:
    return sustain(workload, SUSTAINED_S if duration is None else duration, Machine().observe)


def _window(meter: Meter | None, duration: float | None) -> float:
    """Seconds to measure: what the user says, else what latency and the meter need."""
    if duration is not None:
        return duration
    return max(DURATION_S, recommended_window_s(meter)) if meter else DURATION_S


_NO_DETAILS: dict[str, Any] = {"layers": None, "run": None, "operations": None, "estimated": []}


def _details(session: Session, workload: Workload, cost_tables: Sequence[str]) -> dict[str, Any]:
    """What needs hooks in the program: time per kernel, one traced run, spikes, and estimates."""
    manifest = manifest_of(session, workload)
    operations = count_operations(manifest, workload)
    timed = workload.program.times_kernels
    return {
        "layers": time_kernels(workload, manifest.kernels) if timed else None,
        "run": one_run(workload) if timed else None,
        "operations": operations.to_dict(),
        "estimated": estimated_energy(manifest, operations, cost_tables),
    }


def _plain(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {name: figure.to_dict() for name, figure in figures.items()}


def _check(
    iterations: int,
    warmup: int,
    duration: float | None,
    percentiles: Sequence[float],
    idle_seconds: float | None,
    sustained: bool,
) -> None:
    rules = (
        (not sustained or duration is None or duration > 0, "a sustained run needs time", duration),
        (iterations >= 1, "iterations must be at least 1", iterations),
        (warmup >= 0, "warmup must not be negative", warmup),
        (duration is None or duration >= 0, "duration must not be negative", duration),
        (
            idle_seconds is None or idle_seconds >= 0,
            "idle_seconds must not be negative",
            idle_seconds,
        ),
        (all(0 <= p <= 100 for p in percentiles), "percentiles must be within 0…100", percentiles),
    )
    for holds, rule, value in rules:
        if not holds:
            raise UsageError(f"[profile] {rule}, but received {value}")


def _first_inference(session: Session, threads: int, workload: Workload) -> Callable[[], None]:
    """Load the program a second time; the function returned runs it once."""
    program = open_program(session.bundle, threads)
    first = workload.calls[0]

    def run() -> None:
        try:
            program.run(first.inputs, workload.outputs)
        finally:
            program.close()

    return run


def _real_time(manifest: Manifest, workload: Workload, median_ms: float) -> dict[str, Any] | None:
    """Step time over frame shift, when the front end states one."""
    shift = (manifest.model.frontend or {}).get("shift_ms")
    if not workload.streaming or not isinstance(shift, (int, float)) or shift <= 0:
        return None
    factor = Figure.measured(median_ms / shift, "1", "median step time / frame shift")
    return {"frame_shift_ms": float(shift), "factor": factor.to_dict()}
