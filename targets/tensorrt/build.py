"""`Model` → bundle with an ONNX graph and a build recipe."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from millijoule.bundle import Bundle
from millijoule.converters.model import Model
from millijoule.errors import DeviceError
from millijoule.targets.target import Target

GRAPH = "program/model.onnx"
WORKSPACE_MB = 1024  # most that a tactic may use while it runs; Orin Nano has 8 GB for everything


def build_tensorrt(
    model: Model, target: Target, out: Path, dtype: str, progress: Callable[[str], None]
) -> Bundle:
    """Write the bundle ``out`` atomically; ``dtype``: "float32" or "float16"."""
    if find_spec("onnx") is None:
        raise DeviceError(
            f"[{target.name}] needs the package onnx; run: pip install 'millijoule[tensorrt]'"
        )
    from millijoule.targets.graph.describe import GraphFile, write_graph_bundle
    from millijoule.targets.onnx import OPSET, onnx_graph

    progress("writing the graph")
    graph = onnx_graph(model, precision=dtype, target=target.name)
    file = GraphFile(
        version=f"opset {OPSET}",
        files={GRAPH: graph.to_bytes()},
        main=GRAPH,
        packages=("onnx",),
        recipe=recipe_of(dtype),
    )
    progress("writing")
    return write_graph_bundle(model, target, out, dtype, file, graph.written, graph.states)


def recipe_of(dtype: str) -> dict[str, Any]:
    """What the device needs to know to build: types are the graph's own (strongly typed)."""
    return {"precision": dtype, "workspace_mb": WORKSPACE_MB, "profiles": []}
