"""Quantized tensors of a TensorFlow Lite graph → float32, in place.

Weights and biases get the real values ``scale · (q − zero_point)`` that their integers stand for,
per tensor or per channel; float16 weights are widened. Activations become float32 and are no longer
rounded, and neither do they saturate at the ends of their ranges; QUANTIZE and DEQUANTIZE between
them fall away. Source: the quantization specification of TensorFlow Lite.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from millijoule.errors import UnsupportedError

_INTEGERS = {"INT8": np.int8, "UINT8": np.uint8, "INT16": np.int16, "INT32": np.int32}


def dequantize(model: Any, schema: Any) -> str:
    """Rewrite ``model`` (ModelT); returns what was done, "" if nothing was quantized."""
    types = schema.TensorType
    integers = {getattr(types, name): dtype for name, dtype in _INTEGERS.items()}
    done: set[str] = set()
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if tensor.type == types.FLOAT16:
                _widen(model, tensor, data, types)
                done.add("float16")
            elif _scales(tensor) is not None:
                if tensor.type not in integers:
                    raise UnsupportedError(
                        f"tensor {tensor.name.decode()!r} is quantized to 4 bits or in blocks; "
                        "int8, uint8, int16 and float16 can be read"
                    )
                if tensor.type != types.INT32:
                    done.add("int8" if tensor.type != types.INT16 else "int16")
                _real(model, tensor, data, integers[tensor.type])
                tensor.type = types.FLOAT32
            tensor.quantization = None
        _drop_conversions(model, graph, schema)
    return f"{' and '.join(sorted(done))} dequantized to float32" if done else ""


def _scales(tensor: Any) -> np.ndarray | None:
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or not len(quantization.scale):
        return None
    return np.asarray(quantization.scale, np.float32)


def _new_buffer(model: Any, values: np.ndarray) -> int:
    """Index of a new buffer with ``values``; other tensors may share the old one."""
    buffer = type(model.buffers[0])()
    buffer.data = np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _widen(model: Any, tensor: Any, data: Any, types: Any) -> None:
    if data is not None:
        values = np.asarray(data, np.uint8).view(np.float16)
        tensor.buffer = _new_buffer(model, values)
    tensor.type = types.FLOAT32


def _real(model: Any, tensor: Any, data: Any, dtype: Any) -> None:
    """The real values of a constant; an activation only changes its type."""
    if data is None or not len(data):
        return
    scales = _scales(tensor)
    assert scales is not None
    zeros = tensor.quantization.zeroPoint
    zero = np.zeros(len(scales)) if zeros is None else np.asarray(zeros, np.float64)
    q = np.asarray(data, np.uint8).view(dtype).reshape(tensor.shape if len(tensor.shape) else ())
    if len(scales) > 1:
        along = [1] * q.ndim
        along[tensor.quantization.quantizedDimension] = -1
        scales, zero = scales.reshape(along), zero.reshape(along)
    tensor.buffer = _new_buffer(model, (q.astype(np.float64) - zero) * scales.astype(np.float64))


def _drop_conversions(model: Any, graph: Any, schema: Any) -> None:
    """Leave out QUANTIZE and DEQUANTIZE whose two sides are float32 now."""
    codes = (schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE)
    same: dict[int, int] = {}
    kept = []
    for operator in graph.operators:
        operator.inputs = np.array([same.get(int(i), int(i)) for i in operator.inputs], np.int32)
        code = model.operatorCodes[operator.opcodeIndex]
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        source, target = int(operator.inputs[0]), int(operator.outputs[0])
        floats = all(graph.tensors[i].type == schema.TensorType.FLOAT32 for i in (source, target))
        if builtin in codes and floats and target not in list(graph.outputs):
            same[target] = source
        elif builtin in codes and floats:
            kept.append(_as_reshape(model, operator, schema))
        else:
            kept.append(operator)
    graph.operators = kept


def _as_reshape(model: Any, operator: Any, schema: Any) -> Any:
    """An output of the graph needs an operator: a RESHAPE to its own shape."""
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RESHAPE
    code.version = 1
    model.operatorCodes.append(code)
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    operator.builtinOptions = schema.ReshapeOptionsT()
    shape = model.subgraphs[0].tensors[int(operator.outputs[0])].shape
    operator.builtinOptions.newShape = np.asarray(shape, np.int32)
    return operator
