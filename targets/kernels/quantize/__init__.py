"""Scheduled ``quantize``: vectors of the last axis.

Floor: four bytes read and one written per value; per vector one multiply, two limits, the half with
the sign of the value, an addition and a conversion.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.converters.ops.quantize.op import LIMIT, QUANTIZE, reciprocal
from millijoule.converters.ops.vocabulary import Attrs
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.kernels.threads import Registers, each_element
from millijoule.targets.target import Isa


def quantize(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """Form for every vector unit, and for GPUs."""
    results = QUANTIZE.results(attrs, operands)
    *outer, inner = operands[0].shape
    with tir.kernel(f"quantize_{isa.name}", operands, results) as k, ExitStack() as loops:
        x, y = k.buffers
        if isa.gpu:
            each_element(operands[0].shape, lambda at: _element(x, y, at, attrs))
        else:
            index = [loops.enter_context(T.serial(0, extent)) for extent in outer]
            simd.for_blocks(
                inner, isa.lanes, lambda at, width: _block(x, y, index, at, width, attrs, isa)
            )
    return KernelForm(k.func)


def _block(
    x: Any, y: Any, index: Sequence[Any], start: Any, width: int, attrs: Attrs, isa: Isa
) -> None:
    held = simd.Accumulators(1, width, isa.lanes)
    for vec in held.vectors:
        column, lanes = start + vec[0], vec[1]

        def constant(value: float, lanes: int = lanes) -> Any:
            return simd.splat(T.float32(value), lanes)

        # in a register, or TVM computes the product again for the sign
        product = simd.load(x, index, column, lanes) * constant(reciprocal(attrs))
        clamped = T.max(T.min(product, constant(LIMIT)), constant(-LIMIT))
        held.set(0, vec, clamped)
        v = held.get(0, vec)
        half = T.Select(v >= constant(0), constant(0.5), constant(-0.5))
        rounded = simd.convert(v + half, "int32", lanes)
        simd.save(y, index, column, lanes, simd.convert(rounded, "int8", lanes))


def _element(x: Any, y: Any, at: Sequence[Any], attrs: Attrs) -> None:
    """One value in a thread of a GPU."""
    v, limit = Registers(1, "float32"), T.float32(LIMIT)
    v[0] = T.max(T.min(x[tuple(at)] * T.float32(reciprocal(attrs)), limit), T.float32(-LIMIT))
    half = T.Select(v[0] >= T.float32(0), T.float32(0.5), T.float32(-0.5))
    tir.store(y, at, T.cast(T.cast(v[0] + half, "int32"), "int8"))
