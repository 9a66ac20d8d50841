"""Which processor this is, and whether it can run a program built for a given target."""

from __future__ import annotations

import os
import platform
import struct
from collections.abc import Iterable
from functools import lru_cache

__all__ = [
    "architecture",
    "architecture_of",
    "available_cpus",
    "features",
    "known_features",
    "missing_features",
    "same_architecture",
]

_ALIASES = {"amd64": "x86_64", "arm64": "aarch64", "armv8l": "armv7", "armv7l": "armv7"}

#: LLVM's name of a feature -> its name in /proc/cpuinfo, for features that kernels use.
_KERNEL_NAMES = {
    "x86_64": {
        "sse3": "pni",
        "ssse3": "ssse3",
        "sse4.1": "sse4_1",
        "sse4.2": "sse4_2",
        "popcnt": "popcnt",
        "avx": "avx",
        "avx2": "avx2",
        "f16c": "f16c",
        "fma": "fma",
        "bmi": "bmi1",
        "bmi2": "bmi2",
        "avx512": "avx512vl",  # our own name for the vector unit: F, BW, CD, DQ and VL together
        "avx512f": "avx512f",
        "avx512bw": "avx512bw",
        "avx512cd": "avx512cd",
        "avx512dq": "avx512dq",
        "avx512vl": "avx512vl",
        "avx512vnni": "avx512_vnni",
        "avx512vpopcntdq": "avx512_vpopcntdq",
        "avx512bf16": "avx512_bf16",
        "avxvnni": "avx_vnni",
    },
    "aarch64": {
        "neon": "asimd",
        "dotprod": "asimddp",
        "fullfp16": "asimdhp",
        "i8mm": "i8mm",
        "bf16": "bf16",
        "lse": "atomics",
        "crc": "crc32",
        "sve": "sve",
        "sve2": "sve2",
    },
    "armv7": {"neon": "neon", "vfp4": "vfpv4"},
}

#: Bit of an auxiliary vector entry -> name in /proc/cpuinfo (Linux's asm/hwcap.h of each kind).
_AT_HWCAP, _AT_HWCAP2 = 16, 26
_HWCAP_BITS = {
    "aarch64": {
        _AT_HWCAP: {1: "asimd", 7: "crc32", 8: "atomics", 10: "asimdhp", 20: "asimddp", 22: "sve"},
        _AT_HWCAP2: {1: "sve2", 13: "i8mm", 14: "bf16"},
    },
    "armv7": {_AT_HWCAP: {12: "neon", 16: "vfpv4"}},
}

_V3 = ("avx2", "bmi", "bmi2", "f16c", "fma")

#: What the x86-64 levels of the psABI promise beyond the baseline.
_LEVELS = {
    "x86-64-v2": ("sse4.2", "popcnt"),
    "x86-64-v3": _V3,
    "x86-64-v4": (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}


def architecture() -> str:
    """``x86_64``, ``aarch64``, ``armv7`` or whatever else the system calls its processor.

    A 32-bit Python on a 64-bit ARM system runs 32-bit programs, so it counts as ``armv7``.
    """
    machine = platform.machine().lower()
    name = _ALIASES.get(machine, machine)
    if name == "aarch64" and struct.calcsize("P") == 4:
        return "armv7"
    return name


def architecture_of(triple: str) -> str:
    """The architecture of an LLVM ``triple``, named as `architecture` names them."""
    name = triple.split("-")[0].lower()
    if name.startswith("armv7") or name == "arm":
        return "armv7"
    return _ALIASES.get(name, name)


def same_architecture(triple: str) -> bool:
    """True if programs for the LLVM ``triple`` (may be empty) run on this kind of processor."""
    return not triple or architecture_of(triple) == architecture()


@lru_cache(maxsize=1)
def features() -> frozenset[str]:
    """What this processor has, in the names of /proc/cpuinfo; empty where nothing is known.

    On ARM the auxiliary vector is asked first: it describes the processor that this process runs
    on even in an emulator, where /proc/cpuinfo is that of the machine around it.
    """
    return _hwcap_features() or _cpuinfo_features()


def _hwcap_features() -> frozenset[str]:
    """Features by the auxiliary vector; empty where it does not tell or is not understood."""
    words = _HWCAP_BITS.get(architecture(), {})
    values = {entry: _auxiliary_value(entry) for entry in words}
    return frozenset(
        name
        for entry, bits in words.items()
        for bit, name in bits.items()
        if values[entry] >> bit & 1
    )


def _auxiliary_value(entry: int) -> int:
    """An entry of the auxiliary vector; 0 if there is none, or no such vector on this system."""
    import ctypes  # not needed on x86

    try:
        getauxval = ctypes.CDLL(None).getauxval
    except (OSError, AttributeError, TypeError):
        return 0
    getauxval.restype, getauxval.argtypes = ctypes.c_ulong, (ctypes.c_ulong,)
    return int(getauxval(entry))


def _cpuinfo_features() -> frozenset[str]:
    """Features of the first processor in /proc/cpuinfo, if that speaks of this architecture."""
    wanted = "Features" if architecture() in _HWCAP_BITS else "flags"
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:
            for line in stream:
                key, _, value = line.partition(":")
                if key.strip() == wanted:
                    return frozenset(value.split())
    except OSError:  # not Linux: nothing is known, which the empty set says
        pass
    return frozenset()


def known_features(arch: str) -> frozenset[str]:
    """LLVM's names of the features whose absence `missing_features` can tell on ``arch``."""
    return frozenset(_KERNEL_NAMES.get(arch, ()))


def missing_features(needed: Iterable[str], cpu: str = "") -> list[str]:
    """Features that this processor is known to lack of those ``needed`` or implied by ``cpu``.

    Names are LLVM's (``avx2``, ``+dotprod``); a name that is not in the table counts as present.
    """
    have = features()
    names = _KERNEL_NAMES.get(architecture(), {})
    wanted = [name.removeprefix("+") for name in needed if not name.startswith("-")]
    wanted += [name for name in _LEVELS.get(cpu, ()) if name not in wanted]
    return [name for name in wanted if have and name in names and names[name] not in have]


def available_cpus() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
