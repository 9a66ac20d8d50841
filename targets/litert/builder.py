"""`LitertEmitter`: tensors, buffers and operators of one TFLite subgraph under construction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from millijoule.converters.ops import TensorType
from millijoule.errors import UnsupportedError
from millijoule.targets.graph import Arg, Emitter, Node, Value

DTYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "bool": schema.TensorType.BOOL,
}


class Buffers:
    """What all subgraphs share: constant bytes, operator codes, the subgraphs themselves."""

    def __init__(self) -> None:
        self.buffers: list[Any] = [schema.BufferT()]  # buffer 0 is the empty one, by convention
        self.codes: list[int] = []
        self.subgraphs: list[Any] = []
        self._known: dict[bytes, int] = {}

    def buffer(self, data: bytes) -> int:
        """Index of the buffer that holds ``data``."""
        key = hashlib.sha256(data).digest()
        if key not in self._known:
            held = schema.BufferT()
            held.data = np.frombuffer(data, np.uint8)
            self._known[key] = len(self.buffers)
            self.buffers.append(held)
        return self._known[key]

    def code(self, builtin: int) -> int:
        """Index of an operator's code."""
        if builtin not in self.codes:
            self.codes.append(builtin)
        return self.codes.index(builtin)


class LitertEmitter:
    """One subgraph. ``weights``: "float32", or "float16" to store large constants in half."""

    def __init__(self, shared: Buffers, weights: str = "float32", name: str = "main") -> None:
        self.shared, self.weights = shared, weights
        self.graph = schema.SubGraphT()
        self.graph.name = name.encode()
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []
        self.layer = ""
        self.index = len(shared.subgraphs)
        shared.subgraphs.append(self.graph)
        self._constants: dict[tuple[Any, ...], int] = {}

    @property
    def written(self) -> int:
        """Operators so far."""
        return len(self.graph.operators)

    def tensor(self, name: str, t: TensorType, buffer: int = 0, code: int | None = None) -> int:
        """A new tensor; its index."""
        if code is None:
            if t.dtype not in DTYPES:
                raise UnsupportedError(f"[litert] tensors of type {t.dtype} cannot be written")
            code = DTYPES[t.dtype]
        made = schema.TensorT()
        made.name, made.type, made.buffer = name.encode(), code, buffer
        made.shape = np.array(t.shape, np.int32)
        made.hasRank = True
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def input(self, name: str, type: TensorType) -> Value:
        """Declare an input."""
        index = self.tensor(name, type)
        self.graph.inputs.append(index)
        return Value(name, type, index)

    def output(self, name: str, value: Arg) -> None:
        """Declare an output: a copy, so that it is neither an input nor an output twice."""
        tensor = self.value(value)
        copy = self.op("RESHAPE", [tensor, self.ints(tensor.type.shape)], tensor.type)
        self.graph.tensors[copy.handle].name = name.encode()
        self.graph.outputs.append(copy.handle)

    def value(self, arg: Arg) -> Value:
        """``arg`` as a tensor; large float32 constants are stored as `weights` says."""
        if isinstance(arg, Value):
            return arg
        if isinstance(arg, tuple) or arg is None:
            raise TypeError(f"an operand must be a tensor, but is {arg!r}")
        array = np.asarray(arg)
        if array.dtype == np.float32 and array.size > 64 and self.weights == "float16":
            stored = self.constant(array.astype(np.float16))
            return self.op("DEQUANTIZE", [stored], TensorType(array.shape, "float32"))
        return self.constant(array)

    def constant(self, array: np.ndarray, bits: int = 0, scale: float = 0.0) -> Value:
        """A constant tensor. ``bits`` 2 or 4 packs int8 values; ``scale`` makes it quantized."""
        t = TensorType(array.shape, str(array.dtype))
        data = np.array(array, order="C")
        raw = pack(data, bits) if bits else data.tobytes()
        key = (hashlib.sha256(raw).digest(), t, bits, scale)
        if key not in self._constants:
            code = {2: schema.TensorType.INT2, 4: schema.TensorType.INT4}.get(bits)
            name = f"c{len(self._constants)}"
            index = self.tensor(name, t, self.shared.buffer(raw), code)
            if scale:
                quantization = schema.QuantizationParametersT()
                quantization.scale = np.array([scale], np.float32)
                quantization.zeroPoint = np.array([0], np.int64)
                self.graph.tensors[index].quantization = quantization
            self._constants[key] = index
        return Value(f"c{self._constants[key]}", t, self._constants[key])

    def ints(self, values: Sequence[int]) -> Value:
        """A constant list of int32, as TFLite wants shapes and axes."""
        return self.constant(np.array(values, np.int32))

    def op(self, name: str, args: Sequence[Arg], result: TensorType, **options: Any) -> Value:
        """Append a builtin operator with one result."""
        return self.ops(name, args, [result], **options)[0]

    def ops(
        self, name: str, args: Sequence[Arg], results: Sequence[TensorType], **options: Any
    ) -> tuple[Value, ...]:
        """Append a builtin operator; ``options`` are the fields of its options table."""
        made = schema.OperatorT()
        made.opcodeIndex = self.shared.code(getattr(schema.BuiltinOperator, name))
        made.inputs = [-1 if a is None else self.value(a).handle for a in args]
        label = f"{self.layer}:{name}" if self.layer else name
        values = [
            Value(label, t, self.tensor(f"{label}_{len(self.graph.tensors)}", t)) for t in results
        ]
        made.outputs = [v.handle for v in values]
        kind = _OPTIONS.get(name)
        if kind is not None:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            made.builtinOptions = getattr(schema, f"{kind}T")()
            for field, value in options.items():
                setattr(made.builtinOptions, field, value)
        self.graph.operators.append(made)
        return tuple(values)

    def reshaped(self, x: Value, shape: Sequence[int]) -> Value:
        """``x`` seen in another shape."""
        t = TensorType(tuple(shape), x.type.dtype)
        return self.op("RESHAPE", [x, self.ints(t.shape)], t)

    def moved(self, x: Value, axes: Sequence[int]) -> Value:
        """``x`` with its axes in another order; ``x`` itself if that is theirs."""
        if list(axes) == sorted(axes):
            return x
        t = TensorType(tuple(x.type.shape[a] for a in axes), x.type.dtype)
        return self.op("TRANSPOSE", [x, self.ints(axes)], t)

    def scan(
        self, node: Node, walk_step: Callable[[Emitter, Sequence[Arg]], list[Arg]]
    ) -> tuple[Value, ...]:
        """A loop along time; see `loop.while_loop`."""
        from millijoule.targets.litert.loop import while_loop

        return while_loop(self, node, walk_step)


def pack(values: np.ndarray, bits: int) -> bytes:
    """int8 ``values`` as two's complement of ``bits`` bits, the first value in the lowest bits."""
    per_byte, mask = 8 // bits, (1 << bits) - 1
    flat = np.zeros(-(-values.size // per_byte) * per_byte, np.uint8)
    flat[: values.size] = values.ravel().view(np.uint8) & mask
    rows = flat.reshape(-1, per_byte)
    packed = np.zeros(len(rows), np.uint8)
    for place in range(per_byte):
        packed |= rows[:, place] << (bits * place)
    return packed.tobytes()


# operators whose options table must be there, even if all its fields have their defaults
_OPTIONS = {
    "ABS": "AbsOptions", "ADD": "AddOptions", "ARG_MAX": "ArgMaxOptions",
    "ARG_MIN": "ArgMinOptions", "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions", "BROADCAST_TO": "BroadcastToOptions",
    "CAST": "CastOptions", "CONCATENATION": "ConcatenationOptions", "CONV_2D": "Conv2DOptions",
    "COS": "CosOptions", "CUMSUM": "CumsumOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEQUANTIZE": "DequantizeOptions", "DIV": "DivOptions",
    "DYNAMIC_UPDATE_SLICE": "DynamicUpdateSliceOptions", "EQUAL": "EqualOptions",
    "EXP": "ExpOptions", "FLOOR_DIV": "FloorDivOptions", "FLOOR_MOD": "FloorModOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions", "GATHER": "GatherOptions",
    "GATHER_ND": "GatherNdOptions", "GELU": "GeluOptions", "GREATER": "GreaterOptions",
    "GREATER_EQUAL": "GreaterEqualOptions", "LEAKY_RELU": "LeakyReluOptions",
    "LESS": "LessOptions", "LESS_EQUAL": "LessEqualOptions", "LOGICAL_AND": "LogicalAndOptions",
    "LOGICAL_NOT": "LogicalNotOptions", "LOGICAL_OR": "LogicalOrOptions",
    "LOG_SOFTMAX": "LogSoftmaxOptions", "MAXIMUM": "MaximumMinimumOptions",
    "MAX_POOL_2D": "Pool2DOptions", "MEAN": "ReducerOptions", "MINIMUM": "MaximumMinimumOptions",
    "MIRROR_PAD": "MirrorPadOptions", "MUL": "MulOptions", "NEG": "NegOptions",
    "NOT_EQUAL": "NotEqualOptions", "PACK": "PackOptions", "PAD": "PadOptions",
    "PADV2": "PadV2Options", "POW": "PowOptions", "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions", "REDUCE_PROD": "ReducerOptions", "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions", "REVERSE_V2": "ReverseV2Options",
    "SELECT_V2": "SelectV2Options", "SIGN": "SignOptions", "SOFTMAX": "SoftmaxOptions",
    "SPLIT_V": "SplitVOptions", "SQUARE": "SquareOptions",
    "SQUARED_DIFFERENCE": "SquaredDifferenceOptions", "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions", "SUM": "ReducerOptions", "TILE": "TileOptions",
    "TOPK_V2": "TopKV2Options", "TRANSPOSE": "TransposeOptions", "WHILE": "WhileOptions",
}  # fmt: skip
