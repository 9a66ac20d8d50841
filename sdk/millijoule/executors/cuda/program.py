"""The executor of programs for NVIDIA GPUs: the launcher in the bundle, and engines of regions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...bundle import Bundle
from ...errors import DeviceError, UsageError
from ..graph import require_module
from ..native import NativeProgram
from ..tensorrt import cuda
from .regions import Regions, RegionStatus

__all__ = ["CudaProgram"]

_REMEDY = "it comes with JetPack, or as Python package for your CUDA"


class CudaProgram(NativeProgram):
    """A program on an NVIDIA GPU; see `millijoule.executors.base.Program`."""

    _regions: Regions | None = None  # until the program has started

    def __init__(self, bundle: Bundle, threads: int) -> None:
        super().__init__(bundle, threads)
        try:
            self._regions = Regions(bundle, self._lib, self._ctx, self._tensorrt)
        except BaseException:
            self.close()
            raise

    @property
    def regions(self) -> tuple[RegionStatus, ...]:
        """What calculates each region of `manifest.split`, and if it is no engine, why."""
        return tuple(self._regions.status) if self._regions else ()

    def _tensorrt(self) -> tuple[Any, str]:
        """The module ``tensorrt`` and the GPU's name for kept engines."""
        trt = require_module("tensorrt", "an engine", _REMEDY)
        device = os.environ.get("MJ_CUDA_DEVICE") or "0"
        if device != "0":
            raise DeviceError(f"[tensorrt] engines run on GPU 0, but MJ_CUDA_DEVICE is {device}")
        return trt, f"compute capability {cuda.load_cuda().capability()}"

    def close(self) -> None:
        """Let go of engines, then of the GPU that they are on; may be called again."""
        if self._regions:
            self._regions.close()
        super().close()

    def run_tapped(
        self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], taps: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """As `NativeProgram.run_tapped`, but what lies inside an engine cannot be tapped."""
        split = self._manifest.split
        for status, region in zip(self.regions, split.regions if split else (), strict=True):
            kernels = range(region.first_kernel, region.first_kernel + region.kernels)
            for tap in taps if status.engine else ():
                if tap in self._taps and self._taps[tap][0] in kernels:
                    raise UsageError(
                        f"[taps] {tap} lies in {region.graph}, which an engine calculates; set"
                        " MJ_SPLIT=off"
                    )
        return super().run_tapped(inputs, outputs, taps)
