"""Which meters exist here, and the choice behind ``--energy auto|off|SOURCE``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .jetson import SYSFS, JetsonMeter, find_rails
from .meter import Meter, UnavailableError
from .nvml import NvmlMeter
from .rapl import RaplMeter

AUTO = "auto"
OFF = "off"
# What `auto` may take for a program that runs on the CPU or GPU, best first. A GPU's meter says
# nothing about a CPU program, and one rail is not the whole: both must be asked for by name.
AUTO_SCOPES = {"cpu": ("board", "cpu"), "gpu": ("board", "gpu")}


@dataclass(frozen=True)
class Probe:
    """The result of one real reading.

    Attributes:
        name: What ``--energy`` takes.
        available: Whether the reading succeeded.
        covers: What the meter covers; empty when unavailable.
        reading: The reading, in ``unit`` (J for counters, W for power).
        reason, remedy: Why it failed and what helps; empty when available.
    """

    name: str
    available: bool
    unit: str
    covers: str = ""
    reading: float | None = None
    reason: str = ""
    remedy: str = ""


def list_meters(sysfs: Path = SYSFS, nvml: Any = None) -> list[Meter]:
    """Every meter this SDK knows, in the order of preference, present here or not.

    Args:
        sysfs: Root of sysfs (tests construct their own).
        nvml: NVML binding, default ``pynvml`` when it is first needed.
    """
    powercap = Path(sysfs) / "class/powercap"
    meters: list[Meter] = [
        JetsonMeter(sysfs),
        RaplMeter(powercap, platform=True),
        RaplMeter(powercap),
        NvmlMeter(module=nvml),
        NvmlMeter(power=True, module=nvml),
    ]
    # Without rails nothing is lost: the `jetson` meter itself reports the reason.
    with suppress(UnavailableError):
        meters += [JetsonMeter(sysfs, rail.name) for rail in find_rails(sysfs)]
    return meters


def probe(meter: Meter) -> Probe:
    """Take one real reading of ``meter``."""
    try:
        reading = meter.probe()
        return Probe(meter.name, True, meter.unit, meter.covers, reading)
    except UnavailableError as error:
        return Probe(meter.name, False, meter.unit, reason=error.reason, remedy=error.remedy)


def probe_all(sysfs: Path = SYSFS, nvml: Any = None) -> list[Probe]:
    """Probe every known source: for ``mj devices`` and ``mj doctor``."""
    return [probe(meter) for meter in list_meters(sysfs, nvml)]


def select(source: str, meters: Sequence[Meter] | None = None, *, runs_on: str = "cpu") -> Meter:
    """The meter for ``--energy source``.

    Args:
        source: ``auto`` or the name of a meter. ``auto`` takes the first meter that gives a
            reading and covers the processor the program runs on; a named meter is taken or fails.
        meters: Candidates, default :func:`list_meters`.
        runs_on: ``cpu`` or ``gpu``.

    Raises:
        UnavailableError: No reading from it; the message lists each candidate's reason.
        UsageError: Unknown name.
    """
    candidates = list(list_meters() if meters is None else meters)
    if source != AUTO:
        return _named(source, candidates)
    refusals = []
    for scope in AUTO_SCOPES[runs_on]:
        for meter in (m for m in candidates if m.scope == scope):
            result = probe(meter)
            if result.available:
                return meter
            refusals.append(f"{meter.name}: {result.reason}")
    raise UnavailableError(
        "[energy] no meter gives a reading here: " + "; ".join(refusals),
        "mj doctor prints what helps",
    )


def _named(source: str, candidates: Sequence[Meter]) -> Meter:
    # A second GPU is not in the list: opening it is how one finds out whether it exists.
    kind, _, index = source.partition(":")
    if kind in ("nvml", "nvml-power") and index.isdigit():
        candidates = [*candidates, NvmlMeter(int(index), power=kind == "nvml-power")]
    if kind == "jetson" and index:
        candidates = [*candidates, JetsonMeter(rail=index)]
    for meter in candidates:
        if meter.name == source or f"{meter.name}:0" == source:
            try:
                meter.probe()
            except UnavailableError as error:
                raise UnavailableError(f"[energy] {source}: {error.reason}", error.remedy) from None
            return meter
    valid = ", ".join([AUTO, OFF, *(m.name for m in candidates)])
    raise UsageError(f"[energy] unknown source {source!r}; use one of: {valid}")
