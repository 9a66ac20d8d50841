"""`Model` → bundle with an ONNX graph and a build recipe."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from millijoule.bundle import Bundle
from millijoule.converters.model import Model
from millijoule.errors import DeviceError, UsageError
from millijoule.targets.target import Target

Batches = tuple[int, int, int]
Profile = dict[str, list[list[int]]]  # input → least, usual and largest shape
GRAPH = "program/model.onnx"
WORKSPACE_MB = 1024  # most that a tactic may use while it runs; Orin Nano has 8 GB for everything


def build_tensorrt(
    model: Model,
    target: Target,
    out: Path,
    dtype: str,
    progress: Callable[[str], None],
    batches: Batches | None = None,
    plugins: bool = False,
) -> Bundle:
    """Write the bundle ``out`` atomically.

    ``dtype``: "float32" or "float16"; ``batches``: least, usual and largest batch of one engine, of
    which sessions use the usual one, the model's own; ``plugins``: write a graph with kernels of
    ours besides (`plugins.plugin_graph`).
    """
    if find_spec("onnx") is None:
        raise DeviceError(
            f"[{target.name}] needs the package onnx; run: pip install 'millijoule[tensorrt]'"
        )
    from millijoule.targets.graph.describe import GraphFile, write_graph_bundle
    from millijoule.targets.onnx import OPSET, onnx_graph

    progress("writing the graph")
    graph = onnx_graph(model, precision=dtype, target=target.name)
    proto, profiles = graph.proto, list[Profile]()
    if batches is not None:
        proto, profiles = _for_batches(model, target, dtype, batches)
    files = {GRAPH: bytes(proto.SerializeToString(deterministic=True))}
    recipe = recipe_of(dtype, profiles)
    if plugins:
        from millijoule.targets.tensorrt.plugins import plugin_graph

        made = plugin_graph(model, target.name, progress)
        files, recipe = {**files, **made.files}, {**recipe, "plugins": dict(made.recipe)}
    file = GraphFile(
        version=f"opset {OPSET}",
        files=files,
        main=GRAPH,
        packages=("onnx",),
        recipe=recipe,
    )
    progress("writing")
    return write_graph_bundle(model, target, out, dtype, file, graph.written, graph.states)


def recipe_of(dtype: str, profiles: list[Profile]) -> dict[str, Any]:
    """What the device needs to know to build: types are the graph's own (strongly typed).

    ``profiles``: for each range of shapes, input name → [least, usual, largest].
    """
    return {"precision": dtype, "workspace_mb": WORKSPACE_MB, "profiles": profiles}


def _for_batches(
    model: Model, target: Target, dtype: str, batches: Batches
) -> tuple[Any, list[Profile]]:
    """The graph for any batch, and the range of its inputs' shapes."""
    from millijoule.targets.onnx import onnx_graph
    from millijoule.targets.onnx.batches import PROBES, any_batch, profile

    if model.at_batch is None:
        raise UsageError("[build] batches need a model that `millijoule.convert` made")
    small, large = (
        onnx_graph(model.at_batch(rows), precision=dtype, target=target.name).proto
        for rows in PROBES
    )
    proto = any_batch(small, large)
    return proto, [profile(proto.graph, batches)]
