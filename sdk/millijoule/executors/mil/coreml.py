"""Core ML itself, on a Mac."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from ...bundle import Bundle
from ...errors import DeviceError
from ..graph import GraphExecutor, one_line, require_module, unpack
from .placement import Placement, placements

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

    _model: Any = None
    _state: Any = None

    def __init__(self, bundle: Bundle, threads: int) -> None:
        super().__init__(bundle, threads)
        if platform.system() != "Darwin":
            raise DeviceError(
                "[coreml] Core ML runs on a Mac, an iPhone or an iPad; to check the package on this"
                " machine, use --device mil-evaluator"
            )
        self._ct: ModuleType = require_module(
            "coremltools", "target coreml", "run: pip install coremltools==9.0"
        )
        units = os.environ.get("MJ_COREML_UNITS", "ALL")
        if units not in UNITS:
            raise DeviceError(f"[coreml] MJ_COREML_UNITS must be one of {', '.join(UNITS)}")
        self._units = getattr(self._ct.ComputeUnit, units)
        try:
            self._model = self._ct.models.MLModel(package(bundle), compute_units=self._units)
            self.reset()
        except Exception as error:  # coremltools raises what Core ML says, as several classes
            raise DeviceError(f"[coreml] cannot load the package: {one_line(error)}") from error

    def reset(self) -> None:
        """Put every state back to its initial value, also those that Core ML keeps."""
        super().reset()
        if self._model is not None and self.kept():
            self._state = self._model.make_state()

    def placement(self) -> list[Placement]:
        """Where Core ML means to calculate each operator; see `placement`."""
        try:
            return placements(self._ct, self._model, self._units)
        except Exception as error:
            raise DeviceError(f"[coreml] cannot read the plan: {one_line(error)}") from error

    def infer(self, feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Predictions by name."""
        try:
            given = {n: as_input(x) for n, x in feeds.items()}
            kept = {} if self._state is None else {"state": self._state}
            results = self._model.predict(given, **kept)
        except Exception as error:
            raise DeviceError(f"[coreml] the prediction failed: {one_line(error)}") from error
        return {name: np.asarray(value) for name, value in results.items()}


def as_input(array: np.ndarray) -> np.ndarray:
    """``array`` in the type that Core ML takes it in: floats of 32 bits, integers of 32 bits."""
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int32)
