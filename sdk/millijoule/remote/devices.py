"""The devices that bundles run on: this machine, and emulated ones.

An emulated device is QEMU with one of our runners in it: Linux cores under user emulation,
microcontrollers on an emulated MPS board. It executes the very machine code of the bundle and can
count instructions. It is no model of time or energy: there are no caches, no pipeline, no clock.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from ..errors import DeviceError, UsageError
from ..executors import LOCAL
from .packages import apt_line, missing

__all__ = ["DEVICES", "LOCAL", "Device", "emulator_version", "get_device", "require_target"]

_ARM64_NEEDS = ("qemu-aarch64", "libc-arm64", "cc-arm64", "cc")
_ARMHF_NEEDS = ("qemu-arm", "libc-armhf", "cc-armhf", "cc")
_JETSON = ("jetson-orin", "jetson-thor", "jetson-xavier")
_CORTEX_M_NEEDS = ("qemu-system-arm", "gcc-arm-none-eabi", "newlib", "cc")


@dataclass(frozen=True)
class Device:
    """One device.

    Attributes:
        name: ``local``, or ``qemu:`` and the core.
        targets: bundles for these targets run there; empty: whatever fits this machine.
        emulator: QEMU's program; empty for this machine.
        cpu: QEMU's name of the core.
        machine: QEMU's board; empty under user emulation.
        scripts: linker scripts of the board in order of preference; the next one is taken when a
            model does not fit.
        sysroot: where the device's C library lies on this machine.
        needs: keys of :data:`millijoule.remote.packages.NEEDS`.
        packages: Python packages that it needs, by their names in pip.
        note: what to know before reading its figures.
    """

    name: str
    targets: tuple[str, ...] = ()
    emulator: str = ""
    cpu: str = ""
    machine: str = ""
    scripts: tuple[str, ...] = ()
    sysroot: str = ""
    needs: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    note: str = ""

    @property
    def emulated(self) -> bool:
        """Whether it is an emulator rather than this machine."""
        return bool(self.emulator)

    def missing(self) -> list[str]:
        """Debian packages that it lacks here."""
        return missing(self.needs)

    def missing_modules(self) -> list[str]:
        """Python packages that it lacks here."""
        return [name for name in self.packages if find_spec(name.replace("-", "_")) is None]

    def require(self) -> None:
        """Raise :class:`DeviceError` with the remedy unless everything it needs is there."""
        if modules := self.missing_modules():
            raise DeviceError(f"[device] {self.name} needs: pip install {' '.join(modules)}")
        if packages := self.missing():
            raise DeviceError(
                f"[device] {self.name} needs {', '.join(packages)}; run as root:"
                f" {apt_line(packages)}"
            )


def _arm64(core: str, targets: tuple[str, ...], cpu: str = "", note: str = "") -> Device:
    """A 64-bit Linux core; ``targets`` are the older ones whose programs it runs as well."""
    return Device(
        name=f"qemu:{core}",
        targets=(core, *targets),
        emulator="qemu-aarch64",
        cpu=cpu or core,
        sysroot="/usr/aarch64-linux-gnu",
        needs=_ARM64_NEEDS,
        note=note,
    )


def _cortex_m(core: str, machine: str, *scripts: str) -> Device:
    """A microcontroller on an MPS board; it runs programs of its own target only."""
    return Device(
        name=f"qemu:cortex-{core}",
        targets=(f"cortex-{core}",),
        emulator="qemu-system-arm",
        cpu=f"cortex-{core}",
        machine=machine,
        scripts=scripts,
        needs=_CORTEX_M_NEEDS,
        note="the board has more memory than most parts: budgets are checked by the build",
    )


_ALL = (
    Device(LOCAL, note="this machine"),
    Device(
        "onnxruntime",
        targets=("tensorrt",),
        packages=("onnxruntime",),
        note="ONNX Runtime on this machine: checks the graph; its time says nothing of the device",
    ),
    Device(
        "cuda-emulator",
        targets=_JETSON,
        needs=("cc",),
        note="the bundle's CUDA source on this processor: checks values and barriers, not time",
    ),
    Device(
        "mil-evaluator",
        targets=("coreml", "coreml-ios17"),
        packages=("coremltools",),
        note="the saved Core ML program in NumPy: checks the graph, slowly",
    ),
    _arm64("cortex-a53", ()),
    _arm64("cortex-a72", ("cortex-a53",)),
    _arm64("cortex-a76", ("cortex-a53", "cortex-a72")),
    _arm64(
        "cortex-a78ae",
        ("cortex-a53", "cortex-a72", "cortex-a76"),
        cpu="max",
        note="QEMU has no Cortex-A78AE: this is its core with every extension",
    ),
    Device(
        name="qemu:jetson",
        targets=_JETSON,
        emulator="qemu-aarch64",
        cpu="max",
        sysroot="/usr/aarch64-linux-gnu",
        needs=_ARM64_NEEDS,
        note="the program as it was built, on a driver that runs the CUDA source on the same core",
    ),
    Device(
        name="qemu:armv7",
        targets=("armv7",),
        emulator="qemu-arm",
        cpu="cortex-a7",
        sysroot="/usr/arm-linux-gnueabihf",
        needs=_ARMHF_NEEDS,
    ),
    _cortex_m("m3", "mps2-an385", "mps2-an385.ld", "mps2-psram.ld"),
    _cortex_m("m4", "mps2-an386", "mps2-an386.ld", "mps2-psram.ld"),
    _cortex_m("m7", "mps2-an500", "mps2-an500.ld", "mps2-psram.ld"),
    _cortex_m("m55", "mps3-an547", "mps3-an547.ld", "mps3-an547-ddr.ld"),
)

#: Every device by name.
DEVICES: Mapping[str, Device] = {device.name: device for device in _ALL}


def get_device(name: str) -> Device:
    """The device called ``name``.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in DEVICES:
        raise UsageError(f"[device] must be one of {', '.join(DEVICES)}, but received {name!r}")
    return DEVICES[name]


def require_target(device: Device, target: str) -> None:
    """Raise :class:`DeviceError` unless ``device`` runs programs for ``target``."""
    if target in device.targets:
        return
    fitting = [other.name for other in DEVICES.values() if target in other.targets]
    advice = f"use --device {fitting[0]}" if fitting else "run it without --device, on its machine"
    raise DeviceError(
        f"[device] {device.name} runs bundles for {', '.join(device.targets)}, but this one is for"
        f" {target}; {advice}, or rebuild it"
    )


@cache
def emulator_version(program: str) -> str:
    """Version of the QEMU program ``program``, e.g. ``7.2.22``.

    Raises:
        DeviceError: it cannot be run, or says something else than its version.
    """
    path = shutil.which(program)
    try:
        done = subprocess.run(
            [path or program, "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DeviceError(f"[device] cannot run {program}: {error}; run `mj doctor`") from error
    words = done.stdout.split()
    if done.returncode != 0 or "version" not in words[:-1]:
        raise DeviceError(f"[device] {program} --version failed; reinstall QEMU")
    return words[words.index("version") + 1]
