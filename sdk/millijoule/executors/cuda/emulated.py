"""The executor: the bundle's launcher on a driver that calculates on this processor."""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np

from ...bundle import Bundle
from ...errors import DeviceError
from ..abi import library
from .compile import emulated_libraries
from .program import CudaProgram

__all__ = ["EmulatedCuda"]

_DRIVER = "MJ_LIBCUDA"  # which driver the launcher opens


class EmulatedCuda(CudaProgram):
    """A program for an NVIDIA GPU, emulated; see `millijoule.executors.base.Program`.

    The launcher and the tables of launches are those of the bundle, compiled for this machine.
    Every kernel runs as the CUDA C that the bundle's machine code was made of (emulator.h). That
    checks values, indices, launch sizes, arguments, states, and barriers; it does not check
    NVIDIA's compiler, its approximate exp, log, sin and cos, or anything about time.
    """

    times_kernels = False

    def _tensorrt(self) -> tuple[Any, str]:
        """None: its memory is not that of a GPU."""
        raise DeviceError("[cuda-emulator] an emulated GPU has no TensorRT")

    def _load(self, bundle: Bundle) -> ctypes.CDLL:
        program, self._driver = emulated_libraries(bundle)
        return library(program.read_bytes())

    def _init(self, weights: np.ndarray) -> int:
        before = os.environ.get(_DRIVER)
        os.environ[_DRIVER] = str(self._driver)
        try:
            return super()._init(weights)
        finally:
            if before is None:
                del os.environ[_DRIVER]
            else:
                os.environ[_DRIVER] = before
