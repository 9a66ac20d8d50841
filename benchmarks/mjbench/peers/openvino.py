"""OpenVINO: CPU plugin, latency hint, float32, shared buffers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mjbench.peers import expected_shape, onnx_file, read_input

if TYPE_CHECKING:
    from mjbench.subjects import Subject

PACKAGES = ("openvino",)
SETUP = (
    "from ONNX; PERFORMANCE_HINT LATENCY, NUM_STREAMS 1, INFERENCE_PRECISION_HINT f32 (like all "
    "others), shared input and output tensors"
)


def prepare(subject: Subject, folder: Path) -> None:
    """Convert the ONNX model to OpenVINO's own format."""
    import openvino as ov

    ov.save_model(
        ov.convert_model(str(onnx_file(folder))), folder / "model.xml", compress_to_fp16=False
    )


class OpenVino:
    """A compiled model and one request."""

    def __init__(self, folder: Path, threads: int) -> None:
        import openvino as ov

        compiled = ov.Core().compile_model(
            str(folder / "model.xml"),
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "NUM_STREAMS": "1",
                "INFERENCE_NUM_THREADS": str(threads),
                "INFERENCE_PRECISION_HINT": "f32",
            },
        )
        self._x = read_input(folder)
        self._y = np.zeros(expected_shape(folder), np.float32)
        self._request: Any = compiled.create_infer_request()
        self._request.set_input_tensor(ov.Tensor(self._x, shared_memory=True))
        self._request.set_output_tensor(ov.Tensor(self._y, shared_memory=True))

    def run(self) -> None:
        """One run into the shared buffer."""
        self._request.infer()

    def output(self) -> np.ndarray:
        """The shared buffer."""
        return self._y


load = OpenVino
