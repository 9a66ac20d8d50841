"""Versions of everything that shapes a program, for the manifest."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import millijoule
from millijoule.targets import toolchain as cc


def toolchain() -> dict[str, str]:
    """Name → version; no paths and no dates, so that equal builds give equal bundles."""
    found = {
        "millijoule": millijoule.__version__,
        "python": platform.python_version(),
        "cc": cc.version(cc.find_compiler()),
    }
    for package in ("apache-tvm", "apache-tvm-ffi", "torch", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
