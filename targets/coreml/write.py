"""A converted `Model` → the files of an ``.mlpackage``, the same bytes every time."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coremltools as ct
from coremltools.converters.mil import Builder as mb  # noqa: N813 - its usual name
from coremltools.converters.mil.mil import Function, Program

from millijoule.converters.model import Model
from millijoule.converters.ops import TensorType
from millijoule.targets.coreml.builder import MilEmitter, identifier, mil_type
from millijoule.targets.coreml.emit import TABLE
from millijoule.targets.graph import Written, prepare

_MODEL = "Data/com.apple.CoreML/model.mlmodel"
_WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
_NAMESPACE = uuid.UUID("6f1d2c52-3a36-5d0f-9f3b-0f6d0f1f6c11")  # ours, for names of items


@dataclass(frozen=True)
class CoremlGraph:
    """Members of the package by path, what was written, states, and names that had to change."""

    files: Mapping[str, bytes]
    written: tuple[Written, ...]
    states: tuple[tuple[str, TensorType], ...]
    names: Mapping[str, str]


def coreml_graph(
    model: Model,
    *,
    precision: str = "float32",
    target: str = "coreml",
    show: Collection[str] = (),
) -> CoremlGraph:
    """Write ``model`` as an mlprogram; arguments and errors as those of `graph.prepare`.

    ``precision``: what Core ML calculates in; the Neural Engine wants float16.
    """
    prepared = prepare(model, TABLE, precision, target, show)
    inputs, outputs = prepared.inputs, prepared.outputs
    holders = {identifier(n): mb.placeholder(t.shape, mil_type(t)) for n, t in inputs}
    function = Function(holders, opset_version=ct.target.iOS18)
    with function:
        g = MilEmitter(function.inputs)
        written = prepared.emit(g)
        function.set_outputs(g.outputs)
    program = Program()
    program.add_function("main", function)
    files = _package(_convert(program, precision))
    names = {n: identifier(n) for n in [*(n for n, _ in inputs), *outputs] if n != identifier(n)}
    return CoremlGraph(files, written, prepared.states, names)


def _convert(program: Program, precision: str) -> Any:
    """Core ML's own passes, then its protobuf."""
    with _quiet():
        return ct.convert(
            program,
            source="milinternal",
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.iOS18,
            compute_precision=getattr(ct.precision, precision.upper()),
            skip_model_load=True,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without coremltools' progress bars, and its warnings of versions that do not matter here."""
    log = logging.getLogger("coremltools")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            yield
    finally:
        log.setLevel(level)


def _package(model: Any) -> dict[str, bytes]:
    """The package's files; its manifest names items by random numbers, ours by their content."""
    with tempfile.TemporaryDirectory(prefix="millijoule-") as scratch:
        folder = Path(scratch) / "model.mlpackage"
        model.save(str(folder))
        spec = ct.utils.load_spec(str(folder))
        weights = folder / _WEIGHTS
        files = {_MODEL: bytes(spec.SerializeToString(deterministic=True))}
        if weights.is_file():
            files[_WEIGHTS] = weights.read_bytes()
    return {**files, "Manifest.json": _manifest(files)}


def _manifest(files: Mapping[str, bytes]) -> bytes:
    def item(path: str, name: str, description: str) -> tuple[str, dict[str, str]]:
        key = str(uuid.uuid5(_NAMESPACE, path))
        return key, {
            "author": "com.apple.CoreML",
            "description": description,
            "name": name,
            "path": path,
        }

    model = item("com.apple.CoreML/model.mlmodel", "model.mlmodel", "CoreML Model Specification")
    items = dict([model])
    if _WEIGHTS in files:
        items |= dict([item("com.apple.CoreML/weights", "weights", "CoreML Model Weights")])
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": items,
        "rootModelIdentifier": model[0],
    }
    return json.dumps(manifest, indent=4, sort_keys=True).encode() + b"\n"
