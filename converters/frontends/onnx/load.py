"""Reading an ONNX file and fixing the shapes of its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from millijoule.converters.dynamic import Dynamic
from millijoule.converters.frontends.userfile import missing_package
from millijoule.converters.ops import TensorType
from millijoule.errors import ModelError, UnsupportedError, UsageError
from millijoule.sizes import Dim, Size, dims_of, least

OPSETS = range(11, 24)
DTYPES = ("float32", "int32", "int64", "uint8", "int8", "bool")


@dataclass
class Loaded:
    """A checked model: ``proto`` (an onnx.ModelProto), input types, and its constants."""

    path: Path
    proto: Any
    opset: int
    inputs: dict[str, TensorType]
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    dynamic: Dynamic = field(default_factory=Dynamic)

    @property
    def dims(self) -> frozenset[Dim]:
        """Dimensions of the inputs whose size may vary."""
        return dims_of(d for t in self.inputs.values() for d in t.shape)

    @property
    def parameters(self) -> int:
        """Elements of all float weights."""
        return sum(a.size for a in self.constants.values() if a.dtype.kind == "f" and a.ndim)


def import_onnx() -> Any:
    """The package onnx; DeviceError with the command to install it."""
    try:
        import onnx
        import onnx.reference
    except ImportError as error:
        raise missing_package("onnx") from error
    return onnx


def load(
    path: Path,
    examples: Mapping[str, Any] | None,
    batch: int,
    dynamic: Dynamic = Dynamic(),  # noqa: B008 (frozen)
) -> Loaded:
    """Read and check ``path``; see `convert_onnx` for arguments and errors."""
    onnx = import_onnx()
    if not path.is_file():
        raise UsageError(f"[source] no file {str(path)!r}; give a model in ONNX format")
    try:
        proto = onnx.load(str(path))
        # by path, so that models of more than 2 GB and external data can be checked
        onnx.checker.check_model(str(path))
        _check_names(proto.graph)
    except Exception as error:  # protobuf, the checker and the file system each have their own
        raise ModelError(f"[{path.name}] is not a valid ONNX model: {_line(error)}") from error
    opset = _opset(proto, path)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    values = [v for v in proto.graph.input if v.name not in constants]
    dynamic = dynamic.placed(_named(values))
    inputs = {v.name: _type_of(onnx, v, path, examples, batch, dynamic) for v in values}
    dynamic.check({n: [least(d) for d in t.shape] for n, t in inputs.items()})
    unknown = sorted(set(examples or ()) - set(inputs))
    if unknown:
        raise UsageError(
            f"[{path.name}] inputs are {', '.join(inputs)}, but there are examples of "
            f"{', '.join(unknown)}"
        )
    if not inputs:
        raise ModelError(f"[{path.name}] has no input; a model needs at least one")
    return Loaded(path, proto, opset, inputs, constants, dynamic)


def _check_names(graph: Any) -> None:
    """ValueError for a name that is not UTF-8: protobuf gives such a string as bytes."""
    tensors = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    names = [v.name for v in tensors]
    names += [text for n in graph.node for text in (n.name, n.op_type, *n.input, *n.output)]
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"the name {name[:60]!r} is not UTF-8")


def _named(values: Sequence[Any]) -> dict[str, list[tuple[str, int]]]:
    """Where each symbolic dimension (``dim_param``) of the inputs is."""
    places: dict[str, list[tuple[str, int]]] = {}
    for value in values:
        for axis, d in enumerate(value.type.tensor_type.shape.dim):
            if d.dim_param:
                places.setdefault(d.dim_param, []).append((value.name, axis))
    return places


def _opset(proto: Any, path: Path) -> int:
    found = {o.domain or "ai.onnx": o.version for o in proto.opset_import}
    version = int(found.get("ai.onnx", 0))
    if version not in OPSETS:
        raise UnsupportedError(
            f"[{path.name}] opset must be {OPSETS.start} to {OPSETS.stop - 1}, but is {version}; "
            "export again, or use onnx.version_converter"
        )
    return version


def _type_of(
    onnx: Any,
    value: Any,
    path: Path,
    examples: Mapping[str, Any] | None,
    batch: int,
    dynamic: Dynamic,
) -> TensorType:
    """Type of a graph input."""
    where = f"[{path.name}] input {value.name!r}"
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise UnsupportedError(f"{where} must be a tensor of known rank")
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
    if dtype not in DTYPES:
        raise UnsupportedError(f"{where} must be one of {', '.join(DTYPES)}, but is {dtype}")
    declared = [d.dim_value or d.dim_param or "?" for d in tensor.shape.dim]
    if examples and value.name in examples:
        shape = np.asarray(examples[value.name]).shape
        fits = len(shape) == len(declared) and all(
            isinstance(d, str) or d == s for d, s in zip(declared, shape, strict=True)
        )
        if not fits:
            raise UsageError(f"{where} has shape {declared}, but its example {list(shape)}")
        return TensorType(dynamic.shape(value.name, shape), dtype)
    sizes: list[Any] = list(dynamic.shape(value.name, declared))
    first = next((i for i, d in enumerate(sizes) if isinstance(d, str)), None)
    if first is not None and first == 0:
        sizes[0] = batch
    if any(isinstance(d, str) for d in sizes):
        raise UsageError(
            f"{where} has shape {sizes}, of which only the first dimension can be --batch; "
            "give bounds (--dim NAME=MIN..MAX), or examples of the sizes to build for (--examples)"
        )
    if batch != 1 and sizes and sizes[0] != batch and not isinstance(sizes[0], Size):
        raise UsageError(f"{where} has the fixed batch {sizes[0]}, but --batch is {batch}")
    return TensorType(tuple(sizes), dtype)


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__
