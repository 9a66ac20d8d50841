"""mj devices: list where bundles can run, and what is missing for it."""

from __future__ import annotations

import argparse

from ..remote.devices import DEVICES, Device, emulator_version
from ..remote.packages import apt_line
from .console import Console

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``mj devices`` has no options of its own."""


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the table of devices, and one command that brings what any of them lacks."""
    found = [(device, device.missing()) for device in DEVICES.values()]
    columns = ("device", "status", "runs bundles for", "emulator", "note")
    console.table(columns, [_row(device, missing) for device, missing in found])
    if lacking := {package for _, missing in found for package in missing}:
        console.text(f"to get the missing ones, as root: {apt_line(lacking)}")
    console.json([_describe(device, missing) for device, missing in found])
    return 0


def _version(device: Device, missing: list[str]) -> str | None:
    return emulator_version(device.emulator) if device.emulated and not missing else None


def _describe(device: Device, missing: list[str]) -> dict[str, object]:
    return {
        "name": device.name,
        "available": not missing,
        "missing": missing,
        "remedy": apt_line(missing) if missing else "",
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
