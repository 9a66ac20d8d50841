"""ONNX Runtime on this machine's CPU: checks the graph of a ``tensorrt`` bundle, number for number.

It is not TensorRT: it shows that the graph is right, and nothing about the device's speed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..bundle import Bundle
from ..errors import DeviceError
from .graph import GraphExecutor, one_line, require_module

__all__ = ["OnnxRuntimeProgram"]


class OnnxRuntimeProgram(GraphExecutor):
    """An ONNX graph under ONNX Runtime; see `base.Program`."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        super().__init__(bundle, threads)
        ort = require_module("onnxruntime", "device onnxruntime", "run: pip install onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(
                bundle.read(bundle.manifest.program.library),
                options,
                providers=["CPUExecutionProvider"],
            )
        except Exception as error:  # the classes of onnxruntime's errors are private
            raise DeviceError(f"[onnxruntime] cannot load the graph: {one_line(error)}") from error
        self._outputs = [o.name for o in self._session.get_outputs()]

    def infer(self, feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Outputs of the graph by name."""
        try:
            values = self._session.run(self._outputs, dict(feeds))
        except Exception as error:
            raise DeviceError(f"[onnxruntime] the graph failed: {one_line(error)}") from error
        return dict(zip(self._outputs, values, strict=True))
