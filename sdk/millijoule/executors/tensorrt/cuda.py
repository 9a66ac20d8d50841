"""The CUDA runtime through ctypes: memory, copies, a stream, events. Nothing to install."""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache
from typing import Any

import numpy as np

from ...errors import DeviceError

__all__ = ["Buffer", "Cuda", "load_cuda"]

_NAMES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so")
_TO_DEVICE, _TO_HOST = 1, 2
_MAJOR, _MINOR = 75, 76  # cudaDevAttrComputeCapability…


@cache
def load_cuda() -> Cuda:
    """The CUDA runtime of this machine. DeviceError if there is none, or no GPU."""
    for name in (*_NAMES, ctypes.util.find_library("cudart")):
        try:
            library = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if library is not None:
            return Cuda(library)
    raise DeviceError(
        "[tensorrt] no CUDA runtime (libcudart) found; install the CUDA toolkit or JetPack, or"
        " check the graph on this machine with --device onnxruntime"
    )


class Cuda:
    """The runtime's functions that the executor calls, each checked."""

    def __init__(self, library: Any) -> None:
        self._library = library
        library.cudaGetErrorString.restype = ctypes.c_char_p
        count = ctypes.c_int()
        self.call("cudaGetDeviceCount", ctypes.byref(count))
        if count.value < 1:
            raise DeviceError("[tensorrt] this machine has no NVIDIA GPU that CUDA can use")

    def call(self, name: str, *arguments: Any) -> None:
        """Call one function; DeviceError with CUDA's own words if it fails."""
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            reason = self._library.cudaGetErrorString(status).decode("ascii", "replace")
            raise DeviceError(f"[tensorrt] {name} failed: {reason}")

    def capability(self) -> str:
        """Compute capability of the GPU, such as ``8.7``."""
        parts = []
        for attribute in (_MAJOR, _MINOR):
            value = ctypes.c_int()
            self.call("cudaDeviceGetAttribute", ctypes.byref(value), attribute, 0)
            parts.append(str(value.value))
        return ".".join(parts)

    def stream(self) -> int:
        """A new stream."""
        handle = ctypes.c_void_p()
        self.call("cudaStreamCreate", ctypes.byref(handle))
        return int(handle.value or 0)

    def synchronize(self, stream: int) -> None:
        """Wait for everything on ``stream``."""
        self.call("cudaStreamSynchronize", ctypes.c_void_p(stream))

    def destroy_stream(self, stream: int) -> None:
        """Give ``stream`` back."""
        self.call("cudaStreamDestroy", ctypes.c_void_p(stream))


class Buffer:
    """Memory on the GPU for one tensor."""

    def __init__(self, cuda: Cuda, nbytes: int) -> None:
        self._cuda, self.nbytes = cuda, nbytes
        pointer = ctypes.c_void_p()
        cuda.call("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(max(nbytes, 1)))
        self.address = int(pointer.value or 0)

    def upload(self, array: np.ndarray, stream: int) -> None:
        """Copy ``array`` (C-contiguous) to the GPU."""
        self._copy(self.address, array.ctypes.data, array.nbytes, _TO_DEVICE, stream)

    def download(self, array: np.ndarray, stream: int) -> None:
        """Copy from the GPU into ``array`` (C-contiguous); valid after `Cuda.synchronize`."""
        self._copy(array.ctypes.data, self.address, array.nbytes, _TO_HOST, stream)

    def _copy(self, to: int, source: int, size: int, kind: int, stream: int) -> None:
        if size > self.nbytes:
            raise DeviceError(f"[tensorrt] {size} bytes do not fit a buffer of {self.nbytes}")
        self._cuda.call(
            "cudaMemcpyAsync",
            ctypes.c_void_p(to),
            ctypes.c_void_p(source),
            ctypes.c_size_t(size),
            ctypes.c_int(kind),
            ctypes.c_void_p(stream),
        )

    def free(self) -> None:
        """Give the memory back."""
        self._cuda.call("cudaFree", ctypes.c_void_p(self.address))
