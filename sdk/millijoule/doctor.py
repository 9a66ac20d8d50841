"""What of Millijoule works on this machine, and what to do about the rest."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata

import numpy as np

from . import cpu
from .energy import probe_all
from .errors import DeviceError
from .remote.devices import DEVICES, Device, emulator_version
from .remote.packages import apt_line
from .version import __version__

__all__ = ["REQUIREMENTS", "Finding", "diagnose"]

#: Packages that host verbs need, with the versions that they are known to work with: the same as
#: the extra ``convert`` of the package.
REQUIREMENTS = {
    "torch": ">=2.9",
    "apache-tvm": "==0.27.0.post1",
    "apache-tvm-ffi": "==0.1.14.post1",
    "safetensors": ">=0.4",
}
_INSTALL = "pip install 'millijoule[convert]'"

#: Packages of graph targets: what builds or checks them here, by the extra that brings them.
VENDORS = {
    "tensorrt": ("onnx", "onnxruntime"),
    "coreml": ("coremltools",),
    "litert": ("ai-edge-litert", "flatbuffers"),
}

#: Features worth knowing about, by LLVM's names, per architecture.
_FEATURES = {
    "x86_64": ("avx2", "fma", "f16c", "avx512f", "avx512vl", "avx512vnni", "avx512vpopcntdq"),
    "aarch64": ("neon", "dotprod", "fullfp16", "i8mm", "sve"),
    "armv7": ("neon", "vfp4"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``remedy`` is empty when it is all right."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def diagnose() -> list[Finding]:
    """Look at everything; nothing heavy is imported.

    Energy meters are probed by one real reading each.
    """
    return [*_device(), *_host(), *_vendors(), *_emulated(), *_energy()]


def _device() -> Iterator[Finding]:
    yield Finding("millijoule", True, __version__)
    yield Finding("python", True, f"{platform.python_version()} ({sys.executable})")
    yield Finding("numpy", True, np.__version__)
    arch = cpu.architecture()
    yield Finding("processor", True, f"{arch}, {cpu.available_cpus()} available to this process")
    if known := cpu.features():
        wanted = _FEATURES.get(arch, ())
        missing = cpu.missing_features(wanted)
        present = [name for name in wanted if name not in missing]
        yield Finding("cpu features", True, ", ".join(present) or f"{len(known)}, none of note")
    else:
        yield Finding(
            "cpu features",
            False,
            "unknown (no /proc/cpuinfo)",
            "build for a target that this processor surely runs",
        )


def _host() -> Iterator[Finding]:
    yield _compiler()
    for package, rule in REQUIREMENTS.items():
        version = _version(package)
        if version is None:
            yield Finding(package, False, "not installed", f"to convert and build: {_INSTALL}")
            continue
        if _satisfies(version, rule):
            yield Finding(package, True, version)
        else:
            yield Finding(package, False, f"{version}, but {rule} is needed", _INSTALL)


def _vendors() -> Iterator[Finding]:
    """One finding per graph target, and what this machine can do with its programs."""
    for extra, packages in VENDORS.items():
        versions = {package: _version(package) for package in packages}
        missing = [package for package, version in versions.items() if version is None]
        name = f"target {extra}"
        if missing:
            remedy = f"to build and check for it: pip install 'millijoule[{extra}]'"
            yield Finding(name, False, f"{', '.join(missing)} not installed", remedy)
        else:
            listed = ", ".join(f"{package} {version}" for package, version in versions.items())
            yield Finding(name, True, f"{listed}; {_runs(extra)}")


def _runs(extra: str) -> str:
    """What runs or checks programs of a graph target on this machine."""
    if extra == "litert":
        return "runs here"
    if extra == "coreml":
        here = platform.system() == "Darwin"
        return "runs here" if here else "checked here by --device mil-evaluator; runs on a Mac"
    if _version("tensorrt") is not None:
        return "TensorRT is here: engines are built when a bundle is first loaded"
    return "checked here by --device onnxruntime; runs where TensorRT is (JetPack has it)"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _compiler() -> Finding:
    try:
        toolchain = import_module("millijoule.targets.toolchain")
        return Finding("c compiler", True, toolchain.version(toolchain.find_compiler()))
    except ImportError as error:
        return Finding("c compiler", False, f"host side missing ({error})", _INSTALL)
    except DeviceError as error:
        what, _, remedy = str(error).rpartition("; ")
        return Finding("c compiler", False, what, remedy)


def _satisfies(version: str, rule: str) -> bool:
    """True if ``version`` meets ``==x`` or ``>=x.y``; what follows the numbers is not compared."""
    wanted = rule[2:]
    if rule.startswith("=="):
        return version.partition("+")[0] == wanted
    return _numbers(version) >= _numbers(wanted)


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.partition("+")[0].split(".")
    return tuple(int(part) for part in parts if part.isdigit())


def _emulated() -> Iterator[Finding]:
    """One finding per emulator; the remedy is one command for all that is missing anywhere."""
    devices = [device for device in DEVICES.values() if device.emulated]
    lacking = {package for device in devices for package in device.missing()}
    emulators: dict[str, list[Device]] = {}
    for device in devices:
        emulators.setdefault(device.emulator, []).append(device)
    for emulator, served in emulators.items():
        name = f"devices: {emulator}"
        cores = ", ".join(device.name for device in served)
        if missing := sorted({package for device in served for package in device.missing()}):
            remedy = f"for all emulated devices, as root: {apt_line(lacking)}"
            yield Finding(name, False, f"{', '.join(missing)} missing, for {cores}", remedy)
        else:
            yield Finding(name, True, f"{emulator_version(emulator)}: {cores}")


def _energy() -> Iterator[Finding]:
    for probe in probe_all():
        name = f"energy: {probe.name}"
        if probe.available:
            yield Finding(name, True, probe.covers)
        else:
            yield Finding(name, False, probe.reason, probe.remedy)
