"""mj devices: list where bundles can run, and what is missing for it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from ..remote.devices import DEVICES, Device, emulator_version
from ..remote.packages import apt_line
from .console import Console

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``mj devices`` has no options of its own."""


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the table of devices, and one command that brings what any of them lacks."""
    found = [(d, [*d.missing(), *d.missing_modules()]) for d in DEVICES.values()]
    columns = ("device", "status", "runs bundles for", "emulator", "note")
    console.table(columns, [_row(device, missing) for device, missing in found])
    if lacking := {package for device in DEVICES.values() for package in device.missing()}:
        console.text(f"to get the missing ones, as root: {apt_line(lacking)}")
    if lacking := {name for device in DEVICES.values() for name in device.missing_modules()}:
        console.text(f"Python packages: {_pip_line(lacking)}")
    console.json([_describe(device, missing) for device, missing in found])
    return 0


def _version(device: Device, missing: list[str]) -> str | None:
    return emulator_version(device.emulator) if device.emulated and not missing else None


def _pip_line(names: Iterable[str]) -> str:
    return f"pip install {' '.join(sorted(names))}"


def _remedy(device: Device) -> str:
    modules = device.missing_modules()
    return _pip_line(modules) if modules else apt_line(device.missing())


def _describe(device: Device, missing: list[str]) -> dict[str, object]:
    return {
        "name": device.name,
        "available": not missing,
        "missing": missing,
        "remedy": _remedy(device) if missing else "",
        "targets": list(device.targets),
        "emulator": device.emulator or None,
        "emulator_version": _version(device, missing),
        "cpu": device.cpu or None,
        "machine": device.machine or None,
        "note": device.note,
    }


def _row(device: Device, missing: list[str]) -> tuple[str, ...]:
    parts = (device.emulator, device.machine, _version(device, missing))
    return (
        device.name,
        f"missing {', '.join(missing)}" if missing else "ready",
        ", ".join(device.targets) or "this machine",
        " ".join(part for part in parts if part),
        device.note,
    )
