"""The executor: buffers on the device, execution, times per layer from TensorRT's profiler."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...bundle import Bundle
from ...errors import DeviceError
from ..graph import GraphExecutor, require_module
from .cuda import Buffer, load_cuda
from .engine import load_engine
from .kernels import load_kernels
from .plugin import offer, register

__all__ = ["TensorRTProgram"]

_REMEDY = (
    "it comes with JetPack, or as Python package for your CUDA; to check the graph on this machine,"
    " use --device onnxruntime"
)
_KERNEL = re.compile(r"k(\d+):")  # our names of graph nodes start with the number of their kernel


class TensorRTProgram(GraphExecutor):
    """An engine on the first NVIDIA GPU; see `base.Program`.

    ``engine``: "built" or "cached". ``plugins``: what became of the bundle's kernels, "" if it has
    none: "kernels of ours for compute capability …", or "plain graph: " and the reason.
    """

    times_kernels = True

    def __init__(self, bundle: Bundle, threads: int) -> None:
        super().__init__(bundle, threads)
        trt = require_module("tensorrt", "target tensorrt", _REMEDY)
        self._trt, self._cuda = trt, load_cuda()
        self._stream = self._cuda.stream()  # which makes CUDA's context, that kernels need, too
        gpu = f"compute capability {self._cuda.capability()}"
        self.plugins = ""
        self._engine, self.engine = self._with_plugins(bundle, gpu) or load_engine(trt, bundle, gpu)
        self._shapes = {self._name(s.name): s.shape for s in bundle.manifest.inputs}
        self._shapes |= {
            self._name(s.input): self._specs[s.state].shape for s in self._graph.states
        }
        self._context = self._new_context()
        self._ns = np.zeros(len(bundle.manifest.kernels), np.uint64)
        self._buffers: dict[str, Buffer] = {}
        self._results: dict[str, np.ndarray] = {}
        for index in range(self._engine.num_io_tensors):
            self._bind(self._engine.get_tensor_name(index))

    def _with_plugins(self, bundle: Bundle, gpu: str) -> tuple[Any, str] | None:
        """The engine of the graph that calls kernels of ours; None, and why, if there is none."""
        recipe = self._graph.recipe.get("plugins")
        if not isinstance(recipe, dict):
            return None
        try:
            register(self._trt)
            offer(load_kernels(bundle, recipe, self._cuda.capability()))
            made = load_engine(self._trt, bundle, gpu, str(recipe.get("graph", "")))
        except DeviceError as error:  # the plain graph says what is wrong with the device itself
            self.plugins = f"plain graph: {error}"
            return None
        self.plugins = f"kernels of ours for {gpu}"
        return made

    def _new_context(self) -> Any:
        """A context at the manifest's shapes, which an engine for any batch must be told."""
        context = self._engine.create_execution_context()
        if context is None:
            raise DeviceError("[tensorrt] not enough GPU memory for the engine")
        for name, shape in self._shapes.items():
            dynamic = -1 in tuple(self._engine.get_tensor_shape(name))
            if dynamic and not context.set_input_shape(name, shape):
                raise DeviceError(f"[tensorrt] input {name!r} cannot have the shape {list(shape)}")
        return context

    def _bind(self, name: str) -> None:
        """Memory for one tensor of the engine, on the GPU and for outputs also here."""
        shape = tuple(self._context.get_tensor_shape(name))
        dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
        array = np.empty(shape, dtype)
        self._buffers[name] = buffer = Buffer(self._cuda, array.nbytes)
        self._context.set_tensor_address(name, buffer.address)
        if self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.OUTPUT:
            self._results[name] = array

    def infer(self, feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Outputs of the engine by name; copies in and out are part of the call."""
        for name, array in feeds.items():
            self._buffers[name].upload(np.ascontiguousarray(array), self._stream)
        if not self._context.execute_async_v3(self._stream):
            raise DeviceError("[tensorrt] the engine failed; run `mj verify` on this device")
        for name, array in self._results.items():
            self._buffers[name].download(array, self._stream)
        self._cuda.synchronize(self._stream)
        return self._results

    def kernel_times(self, on: bool) -> None:
        """TensorRT's own times per layer, given to the first operator that a layer fused."""
        self.clear_kernel_ns()
        if on:
            self._context.profiler = _profiler(self._trt, self._ns)
        else:  # a context cannot lose its profiler: take a new one
            self._context = self._new_context()
            for name, buffer in self._buffers.items():
                self._context.set_tensor_address(name, buffer.address)

    def kernel_ns(self) -> np.ndarray:
        """Nanoseconds per operator, a copy."""
        return self._ns.copy()

    def clear_kernel_ns(self) -> None:
        """Set the times back to zero."""
        self._ns[:] = 0

    def close(self) -> None:
        """Free GPU memory; may be called again."""
        super().close()
        for buffer in self._buffers.values():
            buffer.free()
        if self._buffers:
            self._cuda.destroy_stream(self._stream)
        self._buffers = {}


def _profiler(trt: Any, ns: np.ndarray) -> Any:
    """A profiler that adds the time of every engine layer to the first operator in its name."""

    class Profiler(trt.IProfiler):
        def __init__(self) -> None:
            super().__init__()

        def report_layer_time(self, layer: str, ms: float) -> None:
            """Called by TensorRT after a run."""
            found = _KERNEL.search(layer)
            if found and int(found[1]) < len(ns):
                ns[int(found[1])] += np.uint64(ms * 1e6)

    return Profiler()
