"""`Model` → bundle with an ONNX graph and a build recipe."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from millijoule.bundle import (
    SAMPLE_INPUTS,
    SAMPLE_OUTPUTS,
    Bundle,
    GraphProgram,
    npz_bytes,
    write_bundle,
)
from millijoule.converters.model import Model
from millijoule.errors import DeviceError
from millijoule.targets.graph.describe import (
    describe_graph,
    layer_of,
    sample_outputs,
    state_pairs,
)
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
    from millijoule.targets.onnx import OPSET, onnx_graph

    progress("writing the graph")
    graph = onnx_graph(model, precision=dtype, target=target.name)
    program = GraphProgram(
        format="onnx",
        version=f"opset {OPSET}",
        layers=tuple(layer_of(w, dtype) for w in graph.written),
        states=state_pairs([name for name, _ in model.states]),
        recipe=recipe_of(dtype),
    )
    manifest = describe_graph(
        model,
        target,
        precision=dtype,
        graph=program,
        written=graph.written,
        states=graph.states,
        files=(GRAPH, GRAPH),
        packages=("onnx",),
    )
    progress("writing")
    write_bundle(
        out,
        manifest,
        {
            GRAPH: graph.to_bytes(),
            SAMPLE_INPUTS: npz_bytes(model.sample_inputs),
            SAMPLE_OUTPUTS: npz_bytes(sample_outputs(model)),
            **model.files,
        },
    )
    return Bundle.open(out)


def recipe_of(dtype: str) -> dict[str, Any]:
    """What the device needs to know to build: types are the graph's own (strongly typed)."""
    return {"precision": dtype, "workspace_mb": WORKSPACE_MB, "profiles": []}
