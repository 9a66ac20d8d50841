"""Writing TensorFlow Lite models with the flatbuffer schema, operator by operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import millijoule as mj
from millijoule.converters.frontends.tflite import convert_tflite
from millijoule.targets import build

TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "bool": schema.TensorType.BOOL,
}
VERSIONS = {"BROADCAST_TO": 2}  # others have been there since version 1
INPUTS = {"x": (1, 6, 8, 4), "y": (1, 6, 8, 4), "v": (3, 5), "w": (3, 5)}


@dataclass(frozen=True)
class Quantized:
    """A quantized constant, or (``values`` None) the parameters of an activation."""

    scale: Any
    zero: Any = 0
    values: np.ndarray | None = None
    axis: int = 0


@dataclass
class Case:
    """One operator on inputs of `INPUTS` or constants; ``options``: fields of its options table."""

    op: str
    inputs: Sequence[Any] = ("x",)
    options: Mapping[str, Any] = field(default_factory=dict)
    table: str = ""  # the options' table, if it is not called as the operator
    outputs: int = 1
    dtype: str = "float32"
    shape: tuple[int, ...] = (1,)  # of the output, for operators that do not infer it


class Graph:
    """A model under construction."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str = "float32",
        data: np.ndarray | None = None,
        quantized: Quantized | None = None,
    ) -> int:
        """Index of a new tensor; with ``data`` a constant."""
        t = schema.TensorT()
        t.name, t.shape, t.type = name, np.array(shape, np.int32), TYPES[dtype]
        t.hasRank = True
        t.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            t.buffer = len(self.model.buffers) - 1
        if quantized is not None:
            q = schema.QuantizationParametersT()
            q.scale = np.atleast_1d(np.asarray(quantized.scale, np.float32))
            q.zeroPoint = np.broadcast_to(np.asarray(quantized.zero, np.int64), q.scale.shape)
            q.zeroPoint = np.ascontiguousarray(q.zeroPoint)
            q.quantizedDimension = quantized.axis
            t.quantization = q
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def constant(self, name: str, value: Any) -> int:
        """Index of a constant: an array, or a `Quantized` one."""
        if isinstance(value, Quantized):
            assert value.values is not None
            return self.tensor(
                name, value.values.shape, str(value.values.dtype), value.values, value
            )
        array = np.asarray(value)
        return self.tensor(name, array.shape, str(array.dtype), array)

    def operator(
        self, op: str, inputs: Sequence[int], outputs: Sequence[int], options: Any, table: str
    ) -> None:
        """Append an operator."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, op)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = VERSIONS.get(op, 1)
        self.model.operatorCodes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex = len(self.model.operatorCodes) - 1
        made.inputs = np.array(inputs, np.int32)
        made.outputs = np.array(outputs, np.int32)
        if table:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, f"{table}Options")
            made.builtinOptions = getattr(schema, f"{table}OptionsT")()
            for key, value in options.items():
                assert hasattr(made.builtinOptions, key), (table, key)
                setattr(made.builtinOptions, key, value)
        self.graph.operators.append(made)

    def data(self) -> bytes:
        """The flatbuffer."""
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def settle(self) -> bytes:
        """The flatbuffer with the shapes that LiteRT infers."""
        interpreter = Interpreter(
            model_content=self.data(),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
        for detail in interpreter.get_tensor_details():
            if detail["index"] < len(self.graph.tensors):
                self.graph.tensors[detail["index"]].shape = np.array(detail["shape"], np.int32)
        return self.data()


def case(op: str, *inputs: Any, table: str = "", outputs: int = 1, dtype: str = "float32",
         shape: tuple[int, ...] = (1,), **options: Any) -> Case:  # fmt: skip
    """A `Case`; without inputs the operator reads x."""
    return Case(op, inputs or ("x",), options, table, outputs, dtype, shape)


def model_of(cases: Mapping[str, Case]) -> bytes:
    """One graph with every case; outputs are called as the cases."""
    graph = Graph()
    known: dict[str, int] = {}
    for name, c in cases.items():
        inputs = []
        for at, value in enumerate(c.inputs):
            if isinstance(value, str):
                if value not in known:
                    known[value] = graph.tensor(value, INPUTS[value])
                    graph.graph.inputs.append(known[value])
                inputs.append(known[value])
            else:
                inputs.append(-1 if value is None else graph.constant(f"{name}_{at}", value))
        names = [name if k == 0 else f"{name}.{k}" for k in range(c.outputs)]
        outputs = [graph.tensor(n, c.shape, c.dtype) for n in names]
        graph.graph.outputs += outputs
        graph.operator(c.op, inputs, outputs, c.options, c.table)
    return graph.settle()


def check(cases: Mapping[str, Case], folder: Path) -> None:
    """Import, build and run all ``cases``; compare with what LiteRT gave.

    Tolerance: elementary functions differ from LiteRT's in the last bits.
    """
    path = folder / "cases.tflite"
    path.write_bytes(model_of(cases))
    compare(path, folder)


def compare(path: Path, folder: Path) -> None:
    """Build ``path`` and compare with LiteRT's outputs."""
    model = convert_tflite(path)
    build(model, "host", folder / "m.mjb").close()
    with mj.load(folder / "m.mjb") as session:
        got = session.run(dict(model.sample_inputs))
    wrong = {}
    for name, want in model.sample_outputs.items():
        if not np.allclose(got[name], want, rtol=1e-5, atol=1e-5):
            wrong[name] = float(np.abs(got[name].astype("f8") - want).max())
    assert not wrong, wrong
