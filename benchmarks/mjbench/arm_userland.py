"""A foreign Python with a peer in it: programs of 64-bit ARM Linux under QEMU, counted.

The system is Debian's, unpacked by ``mmdebstrap`` and never booted; the peer is its own wheel for
aarch64. QEMU's user emulation runs the interpreter with the folder as its root of libraries.
"""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from millijoule.remote import get_device
from millijoule.remote.counting import Counters, Counts, plugin_library, plugin_option
from mjbench import debian

RELEASE, PYTHON = "bookworm", "3.11"
PACKAGES = "python3-minimal,libpython3-stdlib,python3,libstdc++6,libgcc-s1,zlib1g,libgomp1"
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64")


@dataclass(frozen=True)
class Userland:
    """A Debian system in ``root`` and unpacked wheels in ``wheels``."""

    root: Path
    wheels: Path

    def count(self, script: Path, arguments: Sequence[str], core: str, folder: Path) -> Counts:
        """Run ``script`` with Python on ``core``; instructions between its markers.

        ``folder`` gets the counters. DeviceError with the program's last words if it fails.
        """
        device = get_device(f"qemu:{core}")
        device.require()
        shutil.copy(plugin_library(device), folder)
        counters = Counters(folder / "counts.bin", 0)
        libraries = ":".join(
            str(self.root / place / "aarch64-linux-gnu") for place in ("lib", "usr/lib")
        )
        environment = {
            "PYTHONHOME": self.root / "usr",
            "PYTHONPATH": self.wheels,
            "LD_LIBRARY_PATH": libraries,
            "OMP_NUM_THREADS": 1,
            "OPENBLAS_NUM_THREADS": 1,
        }
        command = [device.emulator, "-cpu", device.cpu, "-plugin", plugin_option(device, counters)]
        command += ["-L", str(self.root)]
        for name, value in environment.items():
            command += ["-E", f"{name}={value}"]
        command += [str(self.root / f"usr/bin/python{PYTHON}"), str(script), *arguments]
        debian.run(command, folder)
        return counters.read()


def make_userland(folder: Path, wheels: Sequence[str]) -> Userland:
    """The system in ``folder``, made on first use; ``wheels`` as pip names them, with versions."""
    made = Userland(folder / "root", folder / "wheels")
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "downloads").mkdir(parents=True)
        debian.unpack(RELEASE, "arm64", PACKAGES, made.root)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
        command += ["--only-binary=:all:", f"--python-version={PYTHON}", "-d", "downloads"]
        debian.run([*command, *(f"--platform={name}" for name in PLATFORMS), *wheels], folder)
        for wheel in sorted((folder / "downloads").glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(made.wheels)
        (folder / "complete").touch()
    return made
