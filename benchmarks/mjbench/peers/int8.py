"""8-bit peers of a float ONNX model: what its own tools make of it, one thread, buffers bound.

``dynamic``: ONNX Runtime's dynamic quantization, with signed or unsigned weights. ``static``: QDQ
form, calibrated on the input, which OpenVINO compiles to 8-bit kernels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[[], None]
_TRIES = 5


def best_dynamic(model: Path, folder: Path, inputs: dict[str, np.ndarray]) -> tuple[str, Run]:
    """(signedness, run) of the faster of both dynamic quantizations."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    found = []
    for name, kind in (("signed", QuantType.QInt8), ("unsigned", QuantType.QUInt8)):
        out = folder / f"dynamic-{name}.onnx"
        if not out.exists():
            quantize_dynamic(str(model), str(out), weight_type=kind)
        run = onnx_runtime(out, inputs)
        found.append((_seconds(run), name, run))
    _, name, run = min(found, key=lambda f: f[0])
    return name, run


def static_model(model: Path, folder: Path, inputs: dict[str, np.ndarray]) -> Path:
    """The QDQ form of ``model``, matrix products only."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Once(CalibrationDataReader):
        def __init__(self) -> None:
            self._rows = iter([inputs])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._rows, None)

    out = folder / "static.onnx"
    if not out.exists():
        quantize_static(str(model), str(out), Once(), op_types_to_quantize=["MatMul", "Gemm"])
    return out


def onnx_runtime(model: Path, inputs: dict[str, np.ndarray]) -> Run:
    """A session with one thread, all optimizations, inputs and outputs bound."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    binding: Any = session.io_binding()
    for spec in session.get_inputs():
        x = inputs[spec.name]
        binding.bind_input(spec.name, "cpu", 0, x.dtype, x.shape, x.ctypes.data)
    for spec in session.get_outputs():
        binding.bind_output(spec.name, "cpu")
    return lambda: session.run_with_iobinding(binding)


def openvino(model: Path, inputs: dict[str, np.ndarray]) -> Run:
    """A compiled model with one thread; 8-bit where the model says so."""
    import openvino as ov

    options = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": "1"}
    compiled = ov.Core().compile_model(str(model), "CPU", options)
    request: Any = compiled.create_infer_request()
    for port in compiled.inputs:
        request.set_tensor(port, ov.Tensor(inputs[port.any_name], shared_memory=True))
    return lambda: request.infer()


def _seconds(run: Run) -> float:
    times = []
    for _ in range(_TRIES):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)
