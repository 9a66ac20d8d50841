"""LiteRT (TensorFlow Lite) on this machine, a phone's or a Raspberry Pi's CPU."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

import numpy as np

from ..bundle import Bundle
from ..errors import DeviceError
from .graph import GraphExecutor, one_line, require_module

__all__ = ["LitertProgram"]

_REMEDY = "run: pip install ai-edge-litert (on old devices: tflite-runtime)"


class LitertProgram(GraphExecutor):
    """A ``.tflite`` under LiteRT's interpreter with its XNNPACK kernels; see `base.Program`."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        super().__init__(bundle, threads)
        content = bundle.read(bundle.manifest.program.library)
        try:
            self._interpreter = _module().Interpreter(model_content=content, num_threads=threads)
            self._interpreter.allocate_tensors()
            self._run = self._interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            raise DeviceError(f"[litert] cannot load the graph: {one_line(error)}") from error

    def infer(self, feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Outputs of the graph by name."""
        try:
            results: Mapping[str, np.ndarray] = self._run(**feeds)
        except (ValueError, RuntimeError) as error:
            raise DeviceError(f"[litert] the graph failed: {one_line(error)}") from error
        return results


def _module() -> ModuleType:
    """The interpreter's module: the new package, else the one for Python up to 3.11."""
    try:
        return require_module("ai_edge_litert.interpreter", "target litert", _REMEDY)
    except DeviceError:
        return require_module("tflite_runtime.interpreter", "target litert", _REMEDY)
