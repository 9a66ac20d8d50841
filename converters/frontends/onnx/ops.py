"""Conversions of ONNX operators of our own, what is refused, and the table of all."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from tvm import relax

from millijoule.converters.frontends.onnx import indexing
from millijoule.converters.importer import tensor_type

# (importer, node, attributes) → result or results
Convert = Callable[[Any, Any, dict[str, Any]], Any]

LABELLED = ("MatMul", "Gemm", "Conv")


def _celu(importer: Any, node: Any, attributes: dict[str, Any]) -> Any:
    """``max(0, x) + min(0, α · (exp(x / α) − 1))``."""
    emit, alpha = importer.builder.emit, float(attributes.get("alpha", 1.0))
    x = importer.value(node.input[0])
    bent = emit(relax.op.exp(emit(relax.op.multiply(x, relax.const(1 / alpha, "float32")))))
    bent = emit(relax.op.subtract(bent, relax.const(1.0, "float32")))
    bent = emit(relax.op.multiply(bent, relax.const(alpha, "float32")))
    low = emit(relax.op.minimum(bent, relax.const(0.0, "float32")))
    return relax.op.add(emit(relax.op.nn.relu(x)), low)


def _power(importer: Any, node: Any, attributes: dict[str, Any]) -> Any:
    """``Pow``: the exponent takes the base's dtype; small whole powers are products."""
    base = importer.value(node.input[0])
    dtype = str(base.ty.dtype)
    known = importer.known.get(node.input[1])
    if known is not None and known.size == 1 and float(known.ravel()[0]) in (2.0, 3.0):
        result = base
        for _ in range(int(known.ravel()[0]) - 1):
            result = importer.builder.emit(relax.op.multiply(result, base))
        shape = np.broadcast_shapes(tensor_type(base).shape, known.shape)
        return result if shape == tensor_type(base).shape else relax.op.reshape(result, shape)
    exponent = importer.value(node.input[1])
    if str(exponent.ty.dtype) != dtype:
        exponent = importer.builder.emit(relax.op.astype(exponent, dtype))
    return relax.op.power(base, exponent)


CONVERTERS: dict[str, Convert] = {**indexing.CONVERTERS, "Celu": _celu, "Pow": _power}

_VALUES = "its shape or control flow depends on the values of tensors"
_SEQUENCES = "sequences and options of tensors have no place in a static program"
_INTEGERS = "quantized operators are imported as QuantizeLinear/DequantizeLinear pairs only"
REFUSED: dict[str, str] = {
    **dict.fromkeys(("Compress", "NonZero", "Unique", "NonMaxSuppression", "AllClassNMS"), _VALUES),
    **dict.fromkeys(("If", "Loop", "Scan"), _VALUES),
    **dict.fromkeys(
        ("ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement",
         "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert",
         "SequenceLength", "SplitToSequence"),
        _SEQUENCES,
    ),
    **dict.fromkeys(
        ("ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "MatMulInteger16", "QLinearConv",
         "QLinearMatMul"),
        _INTEGERS,
    ),
}  # fmt: skip


@cache
def known_ops() -> dict[str, str]:
    """Operator → whose conversion it is, "millijoule" or "tvm"; without `REFUSED`."""
    from tvm.relax.frontend.onnx import onnx_frontend

    table = dict.fromkeys(onnx_frontend._get_convert_map(), "tvm")
    table |= dict.fromkeys((*CONVERTERS, "Constant", "Shape", "Size"), "millijoule")
    return {name: table[name] for name in sorted(table) if name not in REFUSED}
