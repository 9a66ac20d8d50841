"""Versions of everything that shapes a program, for the manifest."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import millijoule
from millijoule.targets.compilers import Toolchain
from millijoule.targets.compilers import version as compiler_version


def toolchain(cc: Toolchain) -> dict[str, str]:
    """Name → version of ``cc`` and of packages; no paths, no dates: equal builds, equal bundles.

    Raises DeviceError if the compiler cannot be run.
    """
    found = {
        "millijoule": millijoule.__version__,
        "python": platform.python_version(),
        "cc": compiler_version(cc),
    }
    for package in ("apache-tvm", "apache-tvm-ffi", "torch", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
