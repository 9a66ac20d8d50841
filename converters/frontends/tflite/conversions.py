"""Conversions of TensorFlow Lite operators of our own, where TVM's fail or do less.

Each takes TVM's converter and the operator, and gives its result or a Relax tuple of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tflite
from tvm import relax

from millijoule.converters.importer import tensor_type
from millijoule.errors import UnsupportedError

_op = relax.op
Convert = Callable[[Any, Any], Any]


def options_of(operator: Any, table: Any) -> Any:
    """The operator's options."""
    options = table()
    union = operator.BuiltinOptions()
    options.Init(union.Bytes, union.Pos)
    return options


def _inputs(converter: Any, operator: Any) -> list[relax.Expr]:
    return [converter.get_tensor_expr(t) for t in converter.get_input_tensors(operator)]


def _known(converter: Any, operator: Any, index: int) -> np.ndarray:
    """Value of a constant input."""
    tensor = converter.get_input_tensors(operator)[index]
    if converter.has_expr(tensor.tensor_idx) or tensor.buffer.DataLength() == 0:
        raise UnsupportedError(f"input {index} must be constant")
    return np.atleast_1d(converter.get_tensor_value(tensor))


def _expand_dims(converter: Any, operator: Any) -> Any:
    axis = int(_known(converter, operator, 1)[0])
    return _op.expand_dims(_inputs(converter, operator)[0], axis)


def _split(converter: Any, operator: Any) -> Any:
    options = options_of(operator, tflite.SplitOptions)
    tensors = converter.get_input_tensors(operator)
    axis = int(_known(converter, operator, 0)[0])
    x = converter.get_tensor_expr(tensors[1])
    return _op.split(x, options.NumSplits(), axis % len(tensor_type(x).shape))


def _split_v(converter: Any, operator: Any) -> Any:
    x = _inputs(converter, operator)[0]
    axis = int(_known(converter, operator, 2)[0]) % len(tensor_type(x).shape)
    sizes = _known(converter, operator, 1).astype(np.int64)
    sizes[sizes < 0] = tensor_type(x).shape[axis] - sizes[sizes >= 0].sum()
    return _op.split(x, [int(i) for i in np.cumsum(sizes)[:-1]], axis)


def _best(op: Callable[..., relax.Expr]) -> Convert:
    """ARG_MAX and ARG_MIN with the index type that the file asks for."""

    def convert(converter: Any, operator: Any) -> Any:
        axis = int(_known(converter, operator, 1)[0])
        output = converter.get_output_tensors(operator)[0].tensor.Type()
        index = converter.bb.emit(op(_inputs(converter, operator)[0], axis, False))
        return _op.astype(index, converter.get_tensor_type_str(output))

    return convert


def _gather(converter: Any, operator: Any) -> Any:
    """Whole slices along an axis; indices outside of it are clipped to it."""
    options = options_of(operator, tflite.GatherOptions)
    if options.BatchDims():
        raise UnsupportedError("GATHER with batch dimensions")
    data, index = _inputs(converter, operator)
    return _op.take(data, index, axis=options.Axis() % len(tensor_type(data).shape), mode="clip")


def _gather_nd(converter: Any, operator: Any) -> Any:
    """Slices that a tuple of indices names: each tuple becomes one number."""
    data, index = _inputs(converter, operator)
    emit = converter.bb.emit
    dims, places = tensor_type(data).shape, tensor_type(index).shape
    depth = places[-1]
    strides = [int(np.prod(dims[k + 1 : depth])) for k in range(depth)]
    limits = relax.const(np.array([d - 1 for d in dims[:depth]], np.int64), "int64")
    wide = emit(_op.astype(index, "int64"))
    inside = emit(_op.maximum(emit(_op.minimum(wide, limits)), relax.const(0, "int64")))
    scaled = emit(_op.multiply(inside, relax.const(np.array(strides, np.int64), "int64")))
    flat = emit(_op.sum(scaled, -1))
    rows = emit(_op.reshape(data, (int(np.prod(dims[:depth])), *dims[depth:])))
    return _op.take(rows, flat, axis=0, mode="clip")


def _gelu(converter: Any, operator: Any) -> Any:
    """GELU, exact or by the hyperbolic tangent."""
    x = _inputs(converter, operator)[0]
    options = operator.BuiltinOptions()
    approximate = options is not None and options_of(operator, tflite.GeluOptions).Approximate()
    return _op.nn.gelu_tanh(x) if approximate else _op.nn.gelu(x)


def _transpose_conv(converter: Any, operator: Any) -> Any:
    """TRANSPOSE_CONV, channels first inside: the output of stride × SAME or VALID padding, cut."""
    options = options_of(operator, tflite.TransposeConvOptions)
    emit = converter.bb.emit
    tensors = converter.get_input_tensors(operator)
    shape = [int(d) for d in _known(converter, operator, 0)]
    weights = converter.get_tensor_value(tensors[1])  # OHWI
    x = emit(_op.permute_dims(converter.get_tensor_expr(tensors[2]), [0, 3, 1, 2]))
    size = tensor_type(x).shape[2:]
    strides = (options.StrideH(), options.StrideW())
    kernel = weights.shape[1:3]
    filters = np.ascontiguousarray(weights.transpose(3, 0, 1, 2))  # IOHW
    y = emit(_op.nn.conv2d_transpose(x, relax.const(filters), strides, (0, 0)))
    full = [(n - 1) * s + k for n, s, k in zip(size, strides, kernel, strict=True)]
    begin, end = [0, 0], shape[1:3]
    if options.Padding() == tflite.Padding.SAME:
        begin = [max(f - w, 0) // 2 for f, w in zip(full, shape[1:3], strict=True)]
        end = [b + w for b, w in zip(begin, shape[1:3], strict=True)]
    missing = [max(e - f, 0) for e, f in zip(end, full, strict=True)]
    if any(missing):
        y = emit(_op.nn.pad(y, [0, 0, 0, 0, 0, missing[0], 0, missing[1]]))
    y = emit(_op.strided_slice(y, [2, 3], begin, end))
    y = emit(_op.permute_dims(y, [0, 2, 3, 1]))
    if len(tensors) > 3:
        y = emit(_op.add(y, converter.get_tensor_expr(tensors[3])))
    activation = getattr(options, "FusedActivationFunction", lambda: 0)()
    return converter.convert_fused_activation_function(y, activation)


CONVERTERS: dict[str, Convert] = {
    "ARG_MAX": _best(_op.argmax),
    "ARG_MIN": _best(_op.argmin),
    "EXPAND_DIMS": _expand_dims,
    "GATHER": _gather,
    "GATHER_ND": _gather_nd,
    "GELU": _gelu,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "TRANSPOSE_CONV": _transpose_conv,
}
