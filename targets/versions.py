"""Versions of everything that shapes a program, for the manifest."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import millijoule
from millijoule.targets.compilers import Toolchain
from millijoule.targets.compilers import version as compiler_version

BASE = ("apache-tvm", "apache-tvm-ffi", "torch", "numpy")


def toolchain(cc: Toolchain) -> dict[str, Any]:
    """Name → version of ``cc`` and of packages; no paths, no dates: equal builds, equal bundles.

    Raises DeviceError if the compiler cannot be run.
    """
    return {**packages(), "cc": compiler_version(cc)}


def packages(more: Sequence[str] = ()) -> dict[str, str]:
    """Name → version of Millijoule, Python, and the distributions that shape programs."""
    found = {"millijoule": millijoule.__version__, "python": platform.python_version()}
    for package in (*BASE, *more):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
