"""Which regions of a program engines calculate, and why not the others.

``MJ_SPLIT``: ``off`` leaves every region to kernels of ours, ``tf32`` lets engines round factors of
products to TF32; ``on``, or nothing, is engines in float32.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...bundle import Bundle, SplitRegion
from ...errors import MjError, UsageError
from ..graph import one_line
from ..tensorrt.region import RegionEngine, region_recipe

__all__ = ["RegionStatus", "Regions"]

#: ``mj_region``: user pointer, stream, addresses of inputs and of outputs; 0 for success.
REGION = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint64),
    ctypes.POINTER(ctypes.c_uint64),
)
_CHOICES = ("on", "off", "tf32")
_noted: set[str] = set()  # what was said on stderr before


@dataclass(frozen=True)
class RegionStatus:
    """``engine``: "built", "cached", or "" where kernels of ours run, for the ``reason``."""

    graph: str
    engine: str
    reason: str = ""


class Regions:
    """The regions of a loaded program. ``status`` has one entry for each, in the plan's order.

    Args:
        bundle: the program's; without a split there are no regions.
        lib: its library, which has ``mj_set_region`` unless it is older than that.
        context: the program's ``mj_context``.
        tensorrt: gives the module ``tensorrt`` and a name of the GPU, or raises MjError.

    Raises:
        UsageError: ``MJ_SPLIT`` is none of its values.
    """

    def __init__(
        self,
        bundle: Bundle,
        lib: ctypes.CDLL,
        context: ctypes.c_void_p,
        tensorrt: Callable[[], tuple[Any, str]],
    ) -> None:
        self.status: list[RegionStatus] = []
        self._lib, self._context = lib, context
        self._callbacks: list[Any] = []  # the library holds their addresses
        split = bundle.manifest.split
        if split is None:
            return
        chosen = os.environ.get("MJ_SPLIT") or "on"
        if chosen not in _CHOICES:
            raise UsageError(f"MJ_SPLIT must be one of {', '.join(_CHOICES)}, but is {chosen!r}")
        trt, gpu, reason = None, "", "MJ_SPLIT=off" if chosen == "off" else _too_old(lib)
        if not reason:
            try:
                trt, gpu = tensorrt()
            except MjError as error:
                reason = one_line(error)
        recipe = region_recipe(chosen == "tf32")
        for index, region in enumerate(split.regions):
            why = reason or _not_cut(region)
            self.status.append(RegionStatus(region.graph, "", why))
            if not why:
                self._attach(index, trt, bundle, region, recipe, gpu)
        if chosen != "off":
            for status in self.status:
                _note(status)

    def close(self) -> None:
        """Let go of engines; the program may not run again. May be called again."""
        self._callbacks.clear()

    def _attach(
        self,
        index: int,
        trt: Any,
        bundle: Bundle,
        region: SplitRegion,
        recipe: dict[str, Any],
        gpu: str,
    ) -> None:
        """Put an engine in the place of region ``index``, or say why not."""
        try:
            engine = RegionEngine(trt, bundle, region, recipe, gpu)
        except Exception as error:  # TensorRT's own may be of any kind; ours are DeviceErrors
            self.status[index] = RegionStatus(region.graph, "", one_line(error))
            return
        callback = REGION(self._run(index, engine, region))
        status = self._lib.mj_set_region(
            self._context, ctypes.c_uint32(index), callback, ctypes.c_void_p()
        )
        if status != 0:
            reason = "the program has no such region, though the manifest says it has"
            self.status[index] = RegionStatus(region.graph, "", reason)
            return
        self._callbacks.append(callback)
        self.status[index] = RegionStatus(region.graph, engine.origin)

    def _run(self, index: int, engine: RegionEngine, region: SplitRegion) -> Callable[..., int]:
        """What the launcher calls; after a failure it is not asked again."""
        n_inputs, n_outputs = len(region.inputs), len(region.outputs)

        def run(_: int | None, stream: int | None, inputs: Any, outputs: Any) -> int:
            if not self.status[index].engine:
                return 1
            try:  # nothing may be thrown into C
                done = engine.enqueue(stream or 0, [*inputs[:n_inputs], *outputs[:n_outputs]])
                reason = "" if done else "the engine failed"
            except Exception as error:
                reason = one_line(error)
            if reason:
                self.status[index] = RegionStatus(region.graph, "", reason)
                _note(self.status[index])
            return int(bool(reason))

        return run


def _too_old(lib: ctypes.CDLL) -> str:
    """Why ``lib`` cannot do without its own kernels; "" if it can."""
    if hasattr(lib, "mj_set_region"):
        return ""
    return "the program is older than engines inside programs; rebuild the bundle"


def _not_cut(region: SplitRegion) -> str:
    """Why ``region`` cannot be taken by an engine; "" if it can."""
    if region.refused:
        return f"refused when it was built: {region.refused}"
    return "" if region.kernels else "it shares kernels with the rest; rebuild the bundle"


def _note(status: RegionStatus) -> None:
    """Say once per process and reason that kernels of ours run in an engine's place."""
    if status.engine or status.reason in _noted:
        return
    _noted.add(status.reason)
    print(
        f"mj: note: [{status.graph}] runs by kernels of ours, not TensorRT: {status.reason}",
        file=sys.stderr,
    )
