"""OpenVINO: CPU plugin, latency hint, float32, shared buffers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mjbench.peers import expected_shape, fastest, onnx_file, read_input

if TYPE_CHECKING:
    from mjbench.subjects import Subject

PACKAGES = ("openvino",)
SETUP = (
    "faster of conversions from ONNX and from torch; PERFORMANCE_HINT LATENCY, NUM_STREAMS 1, "
    "INFERENCE_PRECISION_HINT f32 (like all others), shared input and output tensors"
)


def prepare(subject: Subject, folder: Path) -> None:
    """Keep the faster of a conversion from ONNX and one from torch."""
    import openvino as ov

    def saved(model: Any, name: str) -> Path:
        path = folder / f"{name}.xml"
        ov.save_model(model, path, compress_to_fp16=False)
        return path

    def from_torch() -> Path:
        module, x = subject.build()
        model = ov.convert_model(module, example_input=x, input=[tuple(x.shape)])
        return saved(model, "torch")

    candidates = [lambda: saved(ov.convert_model(str(onnx_file(folder))), "onnx"), from_torch]
    chosen = fastest(candidates, lambda path: OpenVino(folder, 1, path))
    (folder / "chosen").write_text(chosen.name, encoding="utf-8")


class OpenVino:
    """A compiled model and one request."""

    def __init__(self, folder: Path, threads: int, model: Path | None = None) -> None:
        import openvino as ov

        path = model or folder / (folder / "chosen").read_text(encoding="utf-8")
        compiled = ov.Core().compile_model(
            str(path),
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
