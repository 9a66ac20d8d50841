"""Packages of Debian unpacked into a folder, without installing anything."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from millijoule.errors import DeviceError

SECONDS = 1800


def unpack(release: str, architecture: str, packages: str, root: Path) -> None:
    """Unpack ``packages`` (commas between them) of ``release`` with all they need into ``root``.

    DeviceError if mmdebstrap is missing or fails.
    """
    options = [f"--arch={architecture}", "--variant=extract", f"--include={packages}"]
    # An unstable release is a snapshot on mirrors that are not renewed daily.
    options.append('--aptopt=Acquire::Check-Valid-Until "false"')
    run(["mmdebstrap", *options, release, str(root.resolve())], root.parent)


def run(command: Sequence[str], folder: Path) -> None:
    """Run ``command`` in ``folder``; DeviceError with its last words if it fails."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except FileNotFoundError:
        raise DeviceError(f"[userland] {command[0]} is not installed") from None
    if done.returncode:
        words = (done.stderr.strip() or "nothing").splitlines()[-1][:300]
        raise DeviceError(f"[userland] {command[0]} ended with {done.returncode}: {words}")
