"""A converted `Model` → the bytes of a ``.tflite`` file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from millijoule.converters.model import Model
from millijoule.converters.ops import TensorType
from millijoule.targets.graph import Written, prepare
from millijoule.targets.litert.builder import Buffers, LitertEmitter
from millijoule.targets.litert.emit import TABLE

SCHEMA_VERSION, IDENTIFIER = 3, b"TFL3"
SIGNATURE = "serving_default"
# codes from 127 on do not fit the field that the first readers know
_PLACEHOLDER = 127

# operators of which no first version was ever registered
_VERSIONS = {schema.BuiltinOperator.BROADCAST_TO: 2}


@dataclass(frozen=True)
class LitertGraph:
    """The file, what was written for every operator, and the types of its states."""

    data: bytes
    written: tuple[Written, ...]
    states: tuple[tuple[str, TensorType], ...]


def litert_graph(
    model: Model,
    *,
    precision: str = "float32",
    target: str = "litert",
    show: Collection[str] = (),
) -> LitertGraph:
    """Write ``model`` as TFLite; arguments and errors as those of `graph.prepare`.

    ``precision`` "float16": large constants are stored in half, and calculated with in float32
    unless the device's delegate chooses half.
    """
    prepared = prepare(model, TABLE, precision, target, show)
    shared = Buffers()
    g = LitertEmitter(shared, precision)
    written = prepared.emit(g)
    inputs = [name for name, _ in prepared.inputs]
    data = _serialize(shared, g, inputs, list(prepared.outputs), model.name)
    return LitertGraph(data, written, prepared.states)


def _serialize(
    shared: Buffers, main: LitertEmitter, inputs: list[str], outputs: list[str], name: str
) -> bytes:
    made = schema.ModelT()
    made.version, made.description = SCHEMA_VERSION, name.encode()
    made.buffers, made.subgraphs, made.operatorCodes = shared.buffers, shared.subgraphs, []
    for builtin in shared.codes:
        code = schema.OperatorCodeT()
        code.builtinCode, code.version = builtin, _VERSIONS.get(builtin, 1)
        code.deprecatedBuiltinCode = min(builtin, _PLACEHOLDER)
        made.operatorCodes.append(code)
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE.encode(), main.index
    signature.inputs = _map(inputs, main.graph.inputs)
    signature.outputs = _map(outputs, main.graph.outputs)
    made.signatureDefs = [signature]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(made.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _map(names: list[str], tensors: list[int]) -> list[object]:
    """Names of a signature's tensors."""
    listed = []
    for name, index in zip(names, tensors, strict=True):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), index
        listed.append(entry)
    return listed
