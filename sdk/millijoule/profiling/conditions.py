"""The circumstances of a measurement, so that another one can be compared with it."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from ..cpu import architecture, available_cpus
from ..version import __version__


class Machine:
    """Facts about the machine, read from procfs and sysfs.

    Args:
        root: Root of the file system (tests construct their own).
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = Path(root)
        self._cpufreq = "sys/devices/system/cpu/cpu0/cpufreq"

    def _read(self, path: str) -> str | None:
        try:
            text = (self._root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        return text.strip("\0\n ") or None

    def cpu_model(self) -> str:
        """Processor name, or the board's on ARM, where the kernel does not know it."""
        name = self._cpu_name()
        return f"emulated {architecture()} on {name}" if self.emulated() else name

    def emulated(self) -> bool:
        """Whether this process runs in an emulator: /proc/cpuinfo is of another architecture."""
        info = self._read("proc/cpuinfo") or ""
        foreign = {"x86_64": "CPU implementer", "aarch64": "vendor_id", "armv7": "vendor_id"}
        return architecture() in foreign and foreign[architecture()] in info

    def _cpu_name(self) -> str:
        info = self._read("proc/cpuinfo") or ""
        fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
        names = {key.strip(): value.strip() for key, value in fields.items()}
        board = self._read("proc/device-tree/model")
        return names.get("model name") or board or platform.processor() or platform.machine()

    def virtual(self) -> bool:
        """Whether the processor says that it is a virtual one (x86)."""
        return " hypervisor" in (self._read("proc/cpuinfo") or "")

    def governor(self) -> str | None:
        """Frequency governor of CPU 0, None if there is no cpufreq."""
        return self._read(f"{self._cpufreq}/scaling_governor")

    def power_mode(self) -> str | None:
        """The nvpmodel mode of a Jetson."""
        return self._read("var/lib/nvpmodel/status")

    def frequency_mhz(self) -> float | None:
        """Present frequency of CPU 0."""
        text = self._read(f"{self._cpufreq}/scaling_cur_freq")
        return int(text) / 1e3 if text and text.isdigit() else None

    def temperatures_c(self) -> dict[str, float]:
        """Temperatures of all thermal zones that answer."""
        zones = {}
        for zone in sorted((self._root / "sys/class/thermal").glob("thermal_zone*")):
            folder = str(zone.relative_to(self._root))
            name, text = self._read(f"{folder}/type"), self._read(f"{folder}/temp")
            if text and text.lstrip("-").isdigit():
                zones[name or zone.name] = int(text) / 1e3
        return zones

    def observe(self) -> dict[str, float]:
        """What may change during a long run; keys are left out where nothing can be read."""
        seen = {}
        if (frequency := self.frequency_mhz()) is not None:
            seen["frequency_mhz"] = frequency
        if zones := self.temperatures_c():
            seen["temperature_c"] = max(zones.values())
        return seen


def record_conditions(
    threads: int, command: Sequence[str] | None = None, machine: Machine | None = None
) -> dict[str, Any]:
    """Everything worth knowing when comparing two measurements; None where nothing can be read."""
    machine = machine or Machine()
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv if command is None else command),
        "cpu_model": machine.cpu_model(),
        "cpus": os.cpu_count(),
        "cpus_allowed": available_cpus(),
        "virtual_machine": machine.virtual(),
        "emulated": machine.emulated(),
        "governor": machine.governor(),
        "power_mode": machine.power_mode(),
        "frequency_mhz": machine.frequency_mhz(),
        "temperatures_c": machine.temperatures_c(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "threads": threads,
        "platform": platform.platform(),
        "versions": {
            "millijoule": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
    }


def condition_warnings(conditions: dict[str, Any]) -> list[str]:
    """What in ``conditions`` weakens a latency measurement, each with its remedy."""
    notes = []
    if conditions["governor"] not in (None, "performance"):
        notes.append(
            f"the frequency governor is {conditions['governor']}; for repeatable latency use "
            "cpupower frequency-set -g performance"
        )
    load, cpus = conditions["load_average"], conditions["cpus_allowed"]
    if load and load[0] > 0.5 * cpus:
        notes.append(
            f"the load average is {load[0]:.2g} on {cpus} CPUs; stop other work before measuring"
        )
    if conditions["emulated"]:
        notes.append(
            "this processor is emulated: times are the emulator's and say nothing about a device; "
            "measure on the device itself"
        )
    elif conditions["virtual_machine"]:
        notes.append("this is a virtual machine: latency includes its host's other work")
    return notes
