"""Energy of a profile run: measured with a meter where there is one, and estimated from counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from ..bundle import Manifest
from ..energy import (
    AUTO,
    OFF,
    EnergyEstimate,
    EnergyMeasurement,
    Figure,
    Meter,
    UnavailableError,
    cost_table,
    estimate,
    measure,
    select,
)
from .operations import Operations


def choose_meter(source: str | Meter) -> tuple[Meter | None, str]:
    """The meter for ``source``, or None and the reason why there is none.

    ``auto`` may find none; a source asked for by name must give a reading.

    Raises:
        UnavailableError, UsageError: See :func:`millijoule.energy.select`.
    """
    if isinstance(source, Meter):
        source.probe()
        return source, ""
    if source == OFF:
        return None, "energy measurement is switched off"
    try:
        return select(source), ""
    except UnavailableError as error:
        if source != AUTO:
            raise
        return None, str(error).removeprefix("[energy] ")


def measured_energy(
    meter: Meter, workload: Callable[[], int], idle_seconds: float | None
) -> dict[str, Any]:
    """Run ``workload`` between idle windows; see :func:`millijoule.energy.measure`."""
    return _plain(measure(meter, workload, idle_seconds=idle_seconds))


def no_energy(reason: str) -> dict[str, Any]:
    """The same keys without a meter."""
    gap = Figure.unavailable("mJ", reason).to_dict()
    return {
        "energy_mj": gap,
        "net_energy_mj": gap,
        "power_w": Figure.unavailable("W", reason).to_dict(),
    }


def estimated_energy(
    manifest: Manifest, operations: Operations, tables: Sequence[str]
) -> list[dict[str, Any]]:
    """One estimate per cost table: actual counts, and dense counts for comparison."""
    entry = manifest.files.get(manifest.program.weights)
    if entry is None:
        weights = sum(kernel.weight_bytes for kernel in operations.kernels)
    else:
        weights = entry.bytes
    results = []
    for name in tables:
        table = cost_table(name)

        def run(work: list[Any], table: Any = table) -> EnergyEstimate:
            return estimate(
                work,
                table,
                dtype=manifest.target.dtype,
                weight_bytes=weights,
                arena_bytes=manifest.arena.bytes,
            )

        actual = run([kernel.work() for kernel in operations.kernels])
        dense = run([kernel.dense_work() for kernel in operations.kernels])
        macs = run([kernel.mac_work() for kernel in operations.kernels])
        results.append(
            {
                **_plain(actual),
                "dense_compute_mj": dense.compute_mj.to_dict(),
                "mac_compute_mj": macs.compute_mj.to_dict(),
            }
        )
    return results


def _plain(record: EnergyMeasurement | EnergyEstimate) -> dict[str, Any]:
    return {field.name: _value(getattr(record, field.name)) for field in fields(record)}


def _value(value: Any) -> Any:
    if isinstance(value, Figure):
        return value.to_dict()
    if isinstance(value, dict):
        return {key: _value(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
