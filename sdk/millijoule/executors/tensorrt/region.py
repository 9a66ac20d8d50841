"""Engines of TensorRT for a program's regions, on the program's own memory and stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...bundle import Bundle, SplitRegion, TensorSpec
from ...errors import DeviceError
from .engine import member_engine

__all__ = ["RegionEngine", "region_recipe"]


def region_recipe(tf32: bool) -> dict[str, Any]:
    """How engines of regions are built; ``tf32``: products may round factors to 10 bits."""
    return {"precision": "float32", "tf32": tf32, "workspace_mb": 1024}


class RegionEngine:
    """The engine of one region. ``origin``: "built" now, or "cached" from another time."""

    def __init__(
        self, trt: Any, bundle: Bundle, region: SplitRegion, recipe: dict[str, Any], gpu: str
    ) -> None:
        """Load or build it; raises DeviceError if it cannot be had, or is not what was planned."""
        self._engine, self.origin = member_engine(trt, bundle, region.graph, recipe, gpu)
        self._names = [spec.name for spec in (*region.inputs, *region.outputs)]
        self._check(trt, (*region.inputs, *region.outputs))
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise DeviceError("[tensorrt] not enough GPU memory for the engine")

    def _check(self, trt: Any, specs: Sequence[TensorSpec]) -> None:
        """Its tensors must be those of the plan, to the byte: it works on the program's memory."""
        engine = self._engine
        names = {engine.get_tensor_name(i) for i in range(engine.num_io_tensors)}
        for spec in specs:
            if spec.name not in names:
                raise DeviceError(f"[tensorrt] the engine has no tensor {spec.name!r}")
            shape = tuple(engine.get_tensor_shape(spec.name))
            dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(spec.name)))
            if (shape, dtype) != (spec.shape, np.dtype(spec.dtype)):
                raise DeviceError(
                    f"[tensorrt] {spec.name!r} must be {spec.dtype} {list(spec.shape)}, but the"
                    f" engine has {dtype} {list(shape)}"
                )
        if len(names) != len(specs):
            raise DeviceError(
                f"[tensorrt] the engine must have {len(specs)} tensors, but has {len(names)}"
            )

    def enqueue(self, stream: int, addresses: Sequence[int]) -> bool:
        """Put a run on ``stream``; ``addresses`` on the GPU, inputs first. False if it declines."""
        for name, address in zip(self._names, addresses, strict=True):
            self._context.set_tensor_address(name, address)
        return bool(self._context.execute_async_v3(stream))
