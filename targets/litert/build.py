"""`Model` → bundle with a ``.tflite``."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from millijoule.bundle import Bundle
from millijoule.converters.model import Model
from millijoule.errors import DeviceError
from millijoule.targets.target import Target

GRAPH = "program/model.tflite"


def build_litert(
    model: Model, target: Target, out: Path, dtype: str, progress: Callable[[str], None]
) -> Bundle:
    """Write the bundle ``out`` atomically.

    ``dtype``: "float32", "float16" (of weights) or "int8" (of dense layers).
    """
    if find_spec("ai_edge_litert") is None:
        raise DeviceError(
            f"[{target.name}] needs the package ai-edge-litert; run: pip install"
            " 'millijoule[litert]'"
        )
    from millijoule.targets.graph.describe import GraphFile, write_graph_bundle
    from millijoule.targets.litert.emit.elementwise import stored_bits
    from millijoule.targets.litert.write import SCHEMA_VERSION, litert_graph

    progress("writing the graph")
    precision = "float32" if dtype == "int8" else dtype  # of what integers do not calculate
    graph = litert_graph(model, precision=precision, target=target.name)
    file = GraphFile(
        version=f"schema {SCHEMA_VERSION}",
        files={GRAPH: graph.data},
        main=GRAPH,
        packages=("ai-edge-litert",),
        stored_bits=stored_bits,
    )
    progress("writing")
    return write_graph_bundle(model, target, out, dtype, file, graph.written, graph.states)
