"""Programs and files that emulated devices need, and the Debian packages that bring them."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NEEDS", "Need", "apt_line", "missing"]


@dataclass(frozen=True)
class Need:
    """One thing that may be missing.

    Attributes:
        package: the Debian package that brings it.
        programs: it is there if one of these programs is on the PATH …
        files: … or one of these files exists …
        module: … or this Python package is installed …
        variable: … or this environment variable names a compiler.
    """

    package: str
    programs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    module: str = ""
    variable: str = ""

    def present(self) -> bool:
        """Whether it is there."""
        return (
            any(shutil.which(program) for program in self.programs)
            or any(Path(file).exists() for file in self.files)
            or bool(self.module and importlib.util.find_spec(self.module))
            or bool(self.variable and os.environ.get(self.variable))
        )


#: By the names that devices and tests ask for.
NEEDS = {
    "cc": Need("gcc", ("cc", "gcc", "clang"), module="ziglang", variable="CC"),
    "qemu-aarch64": Need("qemu-user", programs=("qemu-aarch64",)),
    "qemu-arm": Need("qemu-user", programs=("qemu-arm",)),
    "qemu-system-arm": Need("qemu-system-arm", programs=("qemu-system-arm",)),
    "libc-arm64": Need(
        "libc6-arm64-cross", files=("/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1",)
    ),
    "libc-armhf": Need(
        "libc6-armhf-cross", files=("/usr/arm-linux-gnueabihf/lib/ld-linux-armhf.so.3",)
    ),
    # ziglang comes from pip, with the extra `cross`
    "cc-arm64": Need(
        "gcc-aarch64-linux-gnu",
        programs=("aarch64-linux-gnu-gcc",),
        module="ziglang",
        variable="MJ_CC_AARCH64",
    ),
    "cc-armhf": Need(
        "gcc-arm-linux-gnueabihf",
        programs=("arm-linux-gnueabihf-gcc",),
        module="ziglang",
        variable="MJ_CC_ARMV7",
    ),
    "gcc-arm-none-eabi": Need(
        "gcc-arm-none-eabi", programs=("arm-none-eabi-gcc",), variable="MJ_CC_ARM_NONE_EABI"
    ),
    "newlib": Need(
        "libnewlib-arm-none-eabi",
        files=("/usr/lib/arm-none-eabi/newlib/libc.a", "/usr/arm-none-eabi/lib/libc.a"),
    ),
    "mmdebstrap": Need("mmdebstrap", programs=("mmdebstrap",)),
}


def missing(names: Iterable[str]) -> list[str]:
    """The packages that bring what is missing of ``names`` (keys of :data:`NEEDS`), sorted."""
    return sorted({NEEDS[name].package for name in names if not NEEDS[name].present()})


def apt_line(packages: Iterable[str]) -> str:
    """The command that installs ``packages``."""
    return "apt-get install --no-install-recommends " + " ".join(sorted(packages))
