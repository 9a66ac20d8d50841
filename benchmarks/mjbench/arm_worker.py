"""Runs inside the emulator: ONNX Runtime on one model, with markers around the runs that count.

    python arm_worker.py MODEL.onnx INPUT.npy OUTPUT.npy WARMUP RUNS

Needs NumPy and ONNX Runtime, nothing of this project. A marker is a hint that does nothing on any
core and that the counting plugin knows; Python calls it in memory of its own.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable

import numpy as np
import onnxruntime as ort

BEGIN, END = 0xD5032C1F, 0xD5032C5F  # hint #0x60, hint #0x62: sdk/.../remote/runner/markers.h
RETURN = 0xD65F03C0


def markers(code: mmap.mmap) -> tuple[Callable[[], None], Callable[[], None]]:
    """Functions in ``code`` that execute the marker before a run and the one after it."""
    code.write(np.array([BEGIN, RETURN, END, RETURN], "<u4").tobytes())
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    kind = ctypes.CFUNCTYPE(None)
    return kind(address), kind(address + 8)


def main(model: str, source: str, target: str, warmup: int, runs: int) -> None:
    """Warm up, run, write the output."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    x, binding = np.load(source), session.io_binding()
    name = session.get_inputs()[0].name
    binding.bind_input(name, "cpu", 0, x.dtype, x.shape, x.ctypes.data)
    result = session.get_outputs()[0]
    y = np.zeros(result.shape, np.float32)
    binding.bind_output(result.name, "cpu", 0, np.float32, y.shape, y.ctypes.data)
    access = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=access)
    begin, end = markers(code)
    for _ in range(warmup):
        session.run_with_iobinding(binding)
    for _ in range(runs):
        begin()
        session.run_with_iobinding(binding)
        end()
    np.save(target, y)


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:6]))
