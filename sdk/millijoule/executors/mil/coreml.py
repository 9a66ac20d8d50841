"""Core ML itself, on a Mac."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...bundle import Bundle
from ...errors import DeviceError
from ..graph import GraphExecutor, one_line, require_module, unpack

__all__ = ["CoremlProgram", "package"]

_PREFIX = "program/"
_NAME = "model.mlpackage"
UNITS = ("ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE")


def package(bundle: Bundle) -> str:
    """The ``.mlpackage`` of ``bundle`` as a folder of the cache."""
    return str(unpack(bundle, _PREFIX) / _NAME)


class CoremlProgram(GraphExecutor):
    """An ``.mlpackage`` under Core ML; see `base.Program`.

    The environment variable ``MJ_COREML_UNITS`` chooses what may calculate: ALL (the default),
    CPU_ONLY, CPU_AND_GPU or CPU_AND_NE.
    """

    def __init__(self, bundle: Bundle, threads: int) -> None:
        super().__init__(bundle, threads)
        if platform.system() != "Darwin":
            raise DeviceError(
                "[coreml] Core ML runs on a Mac, an iPhone or an iPad; to check the package on this"
                " machine, use --device mil-evaluator"
            )
        ct = require_module("coremltools", "target coreml", "run: pip install coremltools")
        units = os.environ.get("MJ_COREML_UNITS", "ALL")
        if units not in UNITS:
            raise DeviceError(f"[coreml] MJ_COREML_UNITS must be one of {', '.join(UNITS)}")
        try:
            self._model: Any = ct.models.MLModel(
                package(bundle), compute_units=getattr(ct.ComputeUnit, units)
            )
        except Exception as error:  # coremltools raises what Core ML says, as several classes
            raise DeviceError(f"[coreml] cannot load the package: {one_line(error)}") from error

    def infer(self, feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Predictions by name."""
        try:
            results = self._model.predict({n: as_input(x) for n, x in feeds.items()})
        except Exception as error:
            raise DeviceError(f"[coreml] the prediction failed: {one_line(error)}") from error
        return {name: np.asarray(value) for name, value in results.items()}


def as_input(array: np.ndarray) -> np.ndarray:
    """``array`` in the type that Core ML takes it in: floats of 32 bits, integers of 32 bits."""
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int32)
