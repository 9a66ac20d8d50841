"""The instruction-counting plugin of the emulator: built on first use, and its counters read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DeviceError
from .cache import cached
from .devices import Device, emulator_version

__all__ = ["Counters", "Counts", "plugin_library", "plugin_option"]

_SOURCE = Path(__file__).parent / "plugin" / "mj_count.c"
_LIBRARY = "mj_count.so"
_LAYOUT = 1
_HEAD = 4  # numbers before the kernels' own: layout, runs, instructions, lost ticks

# Opcodes of runner/markers.h as little-endian words, in the order begin, tick, end.
_THUMB = ("8060f3af", "8061f3af", "8062f3af")
_MARKERS = {
    "qemu-aarch64": ("d5032c1f", "d5032c3f", "d5032c5f"),
    "qemu-arm": ("e320f060", "e320f061", "e320f062"),
    "qemu-system-arm": _THUMB,
}


def plugin_api(version: str) -> int:
    """The newest plugin interface that QEMU ``version`` and our plugin both speak."""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < (9, 0):
        return 1
    return 2 if numbers == (9, 0) else 3


def plugin_library(device: Device) -> Path:
    """The plugin for the emulator of ``device``, compiled if it is not in the cache yet.

    Raises:
        DeviceError: no C compiler for this machine, or it failed.
    """
    from ..targets import toolchain  # host side: a device that emulates nothing lacks it

    cc = toolchain.find_compiler()
    api = plugin_api(emulator_version(device.emulator))

    def make(out: Path) -> None:
        flags = ["-std=c11", "-O2", "-shared", "-fPIC", f"-DMJ_PLUGIN_API={api}"]
        # QEMU itself brings the functions of its plugin interface
        cc.run([*flags, str(_SOURCE), "-o", str(out)])

    return cached(_LIBRARY, [_SOURCE], f"{toolchain.version(cc)} {cc} {api}", make)


def plugin_option(device: Device, counters: Counters) -> str:
    """The value of QEMU's option ``-plugin``, with the plugin in the working directory."""
    begin, tick, end = _MARKERS[device.emulator]
    names = f"counts={counters.path.name},kernels={counters.kernels}"
    return f"./{_LIBRARY},{names},begin={begin},tick={tick},end={end}"


@dataclass(frozen=True)
class Counts:
    """Sums since the program started.

    Attributes:
        runs: Completed runs of the model.
        instructions: Retired in these runs, all told.
        kernels: uint64 [kernels], retired between the two ticks of each kernel.
    """

    runs: int
    instructions: int
    kernels: np.ndarray


class Counters:
    """The file that the plugin counts in.

    Args:
        path: where to make it, in the working directory of the emulator.
        kernels: how many kernels the program has.
    """

    def __init__(self, path: Path, kernels: int) -> None:
        self.path, self.kernels = path, kernels
        path.write_bytes(bytes(8 * (_HEAD + kernels)))
        self._numbers = np.memmap(path, np.dtype("<u8"), "r")

    def read(self) -> Counts:
        """A snapshot; the program must not be running.

        Raises:
            DeviceError: the plugin is not there, or lost count.
        """
        numbers = np.array(self._numbers)
        layout, runs, instructions, lost = (int(n) for n in numbers[:_HEAD])
        if layout != _LAYOUT or lost:
            raise DeviceError(
                f"[device] the counting plugin failed (layout {layout}, {lost} markers too many);"
                " this is a fault in Millijoule, please report it"
            )
        return Counts(runs, instructions, numbers[_HEAD:])
