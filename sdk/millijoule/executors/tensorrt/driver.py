"""The CUDA driver API through ctypes: machine code of ours, launched on TensorRT's stream."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import Any

from ...errors import DeviceError

__all__ = ["Driver", "Module"]

_LIBRARY = "libcuda.so.1"
_PATH = "MJ_LIBCUDA"  # another driver, as for the launcher of Jetson programs


class Driver:
    """The functions of the driver that launches need, each checked."""

    def __init__(self) -> None:
        path = os.environ.get(_PATH) or _LIBRARY
        try:
            self._library = ctypes.CDLL(path)
        except OSError as error:
            raise DeviceError(f"[tensorrt] the CUDA driver cannot be opened: {error}") from error
        self.call("cuInit", 0)

    def call(self, name: str, *arguments: Any) -> None:
        """Call one function; DeviceError with CUDA's number of the error if it fails."""
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            raise DeviceError(f"[tensorrt] {name} failed with CUDA error {status}")


class Module:
    """Machine code in the context that is current, which is the one of the CUDA runtime."""

    def __init__(self, driver: Driver, code: bytes) -> None:
        self._driver, self._code = driver, code  # the driver may read the code later
        self._handle = ctypes.c_void_p()
        driver.call("cuModuleLoadData", ctypes.byref(self._handle), code)
        self._functions: dict[str, ctypes.c_void_p] = {}

    def function(self, name: str) -> ctypes.c_void_p:
        """The kernel ``name``."""
        if name not in self._functions:
            found = ctypes.c_void_p()
            where = ctypes.byref(found), self._handle
            self._driver.call("cuModuleGetFunction", *where, name.encode())
            self._functions[name] = found
        return self._functions[name]

    def launch(
        self,
        name: str,
        grid: Sequence[int],
        block: Sequence[int],
        shared: int,
        pointers: Sequence[int],
        stream: int,
    ) -> None:
        """Launch the kernel ``name`` on ``pointers`` behind what ``stream`` holds already."""
        values = (ctypes.c_uint64 * len(pointers))(*pointers)
        first = ctypes.addressof(values)
        places = [first + 8 * i for i in range(len(pointers))]
        arguments = (ctypes.c_void_p * len(pointers))(*places)
        sizes = [ctypes.c_uint(s) for s in (*grid, *block, shared)]
        self._driver.call(
            "cuLaunchKernel",
            self.function(name),
            *sizes,
            ctypes.c_void_p(stream),
            arguments,
            None,
        )
