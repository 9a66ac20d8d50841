"""`Model` → bundle with an ``.mlpackage``."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from millijoule.bundle import Bundle
from millijoule.converters.model import Model
from millijoule.errors import DeviceError
from millijoule.targets.target import Target

PACKAGE = "program/model.mlpackage/"
GRAPH = f"{PACKAGE}Data/com.apple.CoreML/model.mlmodel"


def build_coreml(
    model: Model, target: Target, out: Path, dtype: str, progress: Callable[[str], None]
) -> Bundle:
    """Write the bundle ``out`` atomically; ``dtype``: "float32" or "float16"."""
    if find_spec("coremltools") is None:
        raise DeviceError(
            f"[{target.name}] needs the package coremltools; run: pip install 'millijoule[coreml]'"
        )
    from millijoule.targets.coreml.emit.elementwise import stored_bits
    from millijoule.targets.coreml.write import coreml_graph
    from millijoule.targets.graph.describe import GraphFile, write_graph_bundle

    progress("writing the graph")
    graph = coreml_graph(model, precision=dtype, target=target.name, system=target.system)
    file = GraphFile(
        version=target.system,
        files={PACKAGE + path: data for path, data in graph.files.items()},
        main=GRAPH,
        packages=("coremltools",),
        stored_bits=stored_bits,
        names=graph.names,
        kept=graph.kept,
    )
    progress("writing")
    return write_graph_bundle(model, target, out, dtype, file, graph.written, graph.states)
