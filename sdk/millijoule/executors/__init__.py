"""Executors: what runs the program of a bundle, chosen by ``program.kind`` in its manifest."""

from __future__ import annotations

from importlib import import_module

from ..bundle import Bundle
from ..errors import BundleError
from .base import ALIGNMENT, Program, aligned_empty

__all__ = ["ALIGNMENT", "KINDS", "Program", "aligned_empty", "open_program"]

#: Module and class of the executor for each kind of program; imported when one is opened.
KINDS = {"static-aot": ("native", "NativeProgram")}


def open_program(bundle: Bundle, threads: int) -> Program:
    """Load the program of ``bundle`` with fresh states.

    Raises:
        BundleError: its kind is unknown, or the program does not match the manifest.
        DeviceError: this machine cannot run it.
        UsageError: a bad number of threads.
    """
    kind = bundle.manifest.program.kind
    if kind not in KINDS:
        raise BundleError(
            f"[manifest.program.kind] must be one of {', '.join(KINDS)}, but received {kind!r};"
            " update Millijoule to run this bundle"
        )
    module, name = KINDS[kind]
    program: Program = getattr(import_module(f".{module}", __name__), name)(bundle, threads)
    return program
