"""ONNX Runtime: CPU provider, buffers bound; the export that it runs fastest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mjbench.peers import expected_shape, fastest, onnx_file, read_input

if TYPE_CHECKING:
    from mjbench.subjects import Subject

PACKAGES = ("onnxruntime",)
SETUP = (
    "CPUExecutionProvider, ORT_ENABLE_ALL, sequential, IO binding; "
    "fastest of the usual export, one of opset 23 (Attention operators) and, for transformers, one "
    "fused by onnxruntime.transformers.optimizer"
)


def prepare(subject: Subject, folder: Path) -> None:
    """Keep the fastest of the usual graph, one with Attention operators, and one fused offline."""

    def attention() -> Path:
        import torch

        path = folder / "attention.onnx"
        module, x = subject.build()
        torch.onnx.export(
            module, (x,), str(path), dynamo=True, opset_version=23, external_data=False
        )
        return path

    def fused() -> Path:
        from onnxruntime.transformers import optimizer

        path = folder / "fused.onnx"
        kind, usual = subject.transformer, str(onnx_file(folder))
        optimizer.optimize_model(usual, model_type=kind, opt_level=0).save_model_to_file(str(path))
        return path

    candidates = [lambda: onnx_file(folder), attention]
    if subject.transformer:
        candidates.append(fused)
    chosen = fastest(candidates, lambda path: OnnxRuntime(folder, 1, path))
    (folder / "chosen").write_text(str(chosen.resolve()), encoding="utf-8")


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
