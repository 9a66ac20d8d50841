"""ONNX Runtime: CPU provider, buffers bound; its own transformer optimizer where that is faster."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mjbench.peers import expected_shape, onnx_file, read_input

if TYPE_CHECKING:
    from mjbench.subjects import Subject

PACKAGES = ("onnxruntime",)
SETUP = (
    "CPUExecutionProvider, ORT_ENABLE_ALL, sequential, IO binding; "
    "onnxruntime.transformers.optimizer where it made the model faster"
)
_TRIES = 5


def prepare(subject: Subject, folder: Path) -> None:
    """Keep the faster of the plain graph and the one with fused attention."""
    chosen = onnx_file(folder)
    if subject.transformer:
        from onnxruntime.transformers import optimizer

        fused = folder / "fused.onnx"
        optimizer.optimize_model(
            str(chosen), model_type=subject.transformer, opt_level=0
        ).save_model_to_file(str(fused))
        chosen = min((chosen, fused), key=lambda path: _seconds(path, folder))
    (folder / "chosen").write_text(str(chosen.resolve()), encoding="utf-8")


def _seconds(model: Path, folder: Path) -> float:
    """Of the fastest of some runs."""
    runner = OnnxRuntime(folder, 1, model)
    times = []
    for _ in range(_TRIES):
        start = time.process_time()
        runner.run()
        times.append(time.process_time() - start)
    return min(times)


class OnnxRuntime:
    """A session and its binding."""

    def __init__(self, folder: Path, threads: int, model: Path | None = None) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        path = model or Path((folder / "chosen").read_text(encoding="utf-8"))
        self._session: Any = ort.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._binding = self._session.io_binding()
        self._x = read_input(folder)
        self._y = np.zeros(expected_shape(folder), np.float32)
        name = self._session.get_inputs()[0].name
        self._binding.bind_input(name, "cpu", 0, self._x.dtype, self._x.shape, self._x.ctypes.data)
        name = self._session.get_outputs()[0].name
        self._binding.bind_output(name, "cpu", 0, np.float32, self._y.shape, self._y.ctypes.data)

    def run(self) -> None:
        """One run into the bound buffer."""
        self._session.run_with_iobinding(self._binding)

    def output(self) -> np.ndarray:
        """The bound buffer."""
        return self._y


load = OnnxRuntime
