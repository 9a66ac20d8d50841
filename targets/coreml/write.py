"""A converted `Model` → the files of an ``.mlpackage``, the same bytes every time."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coremltools as ct
from coremltools.converters.mil import Builder as mb  # noqa: N813 - its usual name
from coremltools.converters.mil.mil import Function, Program, types

from millijoule.converters.model import Model, Named
from millijoule.converters.ops import TensorType
from millijoule.targets.coreml.builder import STATE, MilEmitter, identifier, mil_type
from millijoule.targets.coreml.emit import TABLE
from millijoule.targets.graph import Written, prepare

_MODEL = "Data/com.apple.CoreML/model.mlmodel"
_WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
_DATE = "com.github.apple.coremltools.conversion_date"
_NAMESPACE = uuid.UUID("6f1d2c52-3a36-5d0f-9f3b-0f6d0f1f6c11")  # ours, for names of items


@dataclass(frozen=True)
class CoremlGraph:
    """Members of the package by path, what was written, states, and names that had to change.

    ``kept``: states that Core ML keeps from one prediction to the next.
    """

    files: Mapping[str, bytes]
    written: tuple[Written, ...]
    states: tuple[tuple[str, TensorType], ...]
    names: Mapping[str, str]
    kept: frozenset[str] = frozenset()


def coreml_graph(
    model: Model,
    *,
    precision: str = "float32",
    target: str = "coreml",
    show: Collection[str] = (),
    system: str = "iOS18",
) -> CoremlGraph:
    """Write ``model`` as an mlprogram; arguments and errors as those of `graph.prepare`.

    ``precision``: what Core ML calculates in; the Neural Engine wants float16. ``system``: the
    oldest system that runs it, "iOS17" or "iOS18"; from iOS 18 on Core ML keeps float16 states.
    """
    prepared = prepare(model, TABLE, precision, target, show)
    kept = _kept(prepared.states, precision, system)
    inputs, outputs = prepared.inputs, prepared.outputs
    version = getattr(ct.target, system)
    holders = {identifier(n): _holder(n, t, kept) for n, t in inputs}
    function = Function(holders, opset_version=version)
    with function:
        g = MilEmitter(function.inputs, kept, system)
        written = prepared.emit(g)
        function.set_outputs(g.outputs)
    program = Program()
    program.add_function("main", function)
    files = _package(_convert(program, precision, version))
    names = {n: identifier(n) for n in [*(n for n, _ in inputs), *outputs] if n != identifier(n)}
    return CoremlGraph(files, written, prepared.states, names, kept)


def _kept(states: Sequence[Named], precision: str, system: str) -> frozenset[str]:
    """Names of the states that Core ML can keep: float16 from iOS 18 on, counters never."""
    if precision != "float16" or system == "iOS17":
        return frozenset()
    return frozenset(name for name, t in states if t.dtype == "float32")


def _holder(name: str, t: TensorType, kept: Collection[str]) -> Any:
    """An input of the function, or a state."""
    if name.removeprefix(STATE) in kept and name.startswith(STATE):
        return mb.state_tensor_placeholder(t.shape, types.fp16)
    return mb.placeholder(t.shape, mil_type(t))


def _convert(program: Program, precision: str, version: Any) -> Any:
    """Core ML's own passes, then its protobuf."""
    with _quiet():
        return ct.convert(
            program,
            source="milinternal",
            convert_to="mlprogram",
            minimum_deployment_target=version,
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
        spec.description.metadata.userDefined.pop(_DATE, None)  # equal builds give equal bytes
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
