"""Reading a TensorFlow Lite file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from millijoule.converters.frontends.tflite.dequantize import dequantize
from millijoule.converters.frontends.userfile import missing_package
from millijoule.converters.ops import TensorType
from millijoule.errors import ModelError, UnsupportedError, UsageError

DTYPES = ("float32", "int32", "int64", "uint8", "int8")


@dataclass
class Loaded:
    """A model whose quantized tensors are float32.

    ``data``: the flatbuffer; ``model``: the same through the object API of LiteRT's schema;
    ``statement``: what was done to it, "" if nothing.
    """

    path: Path
    data: bytes
    model: Any
    statement: str
    inputs: dict[str, TensorType] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    parameters: int = 0


def load(path: Path) -> Loaded:
    """Read and check ``path``; see `convert_tflite` for errors."""
    try:
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise missing_package("ai_edge_litert") from error
    if not path.is_file():
        raise UsageError(f"[source] no file {str(path)!r}; give a TensorFlow Lite model")
    data = path.read_bytes()
    if data[4:8] != b"TFL3":
        raise ModelError(f"[{path.name}] is not a TensorFlow Lite model (no TFL3 at byte 4)")
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
        _check_names(model)
        statement = dequantize(model, schema)
        builder = flatbuffers.Builder(len(data))
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        loaded = Loaded(path, bytes(builder.Output()), model, statement)
        _describe(loaded, schema)
    except (UnsupportedError, ModelError) as error:
        raise type(error)(f"[{path.name}] {error}") from error
    except Exception as error:  # a damaged flatbuffer fails anywhere
        raise ModelError(
            f"[{path.name}] is not a valid TensorFlow Lite model: {type(error).__name__} {error}"
        ) from error
    return loaded


def _check_names(model: Any) -> None:
    """UnicodeDecodeError for a name that is no text; tensors without a name get one."""
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        tensor.name = tensor.name or f"tensor{number}".encode()
        tensor.name.decode()
    for code in model.operatorCodes:
        (code.customCode or b"").decode()


def _describe(loaded: Loaded, schema: Any) -> None:
    """Inputs, outputs and size of the first subgraph."""
    graph = loaded.model.subgraphs[0]
    for index in graph.inputs:
        tensor = graph.tensors[index]
        dtype = numpy_type(schema, tensor.type)
        name = tensor.name.decode()
        if dtype not in DTYPES:
            raise UnsupportedError(
                f"input {name!r} must be one of {', '.join(DTYPES)}, but is {dtype}"
            )
        loaded.inputs[name] = TensorType(tuple(int(d) for d in tensor.shape), dtype)
    loaded.outputs = tuple(graph.tensors[i].name.decode() for i in graph.outputs)
    loaded.parameters = sum(
        int(np.prod(t.shape))
        for t in graph.tensors
        if t.type == schema.TensorType.FLOAT32 and loaded.model.buffers[t.buffer].data is not None
    )


def numpy_type(schema: Any, number: int) -> str:
    """Name of a tensor type, as NumPy calls it where NumPy has it."""
    names = {v: k for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
    return str(names.get(number, number)).lower()
