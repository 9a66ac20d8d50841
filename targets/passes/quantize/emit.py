"""Relax expressions of the integer arithmetic between layers: rescaling, and back to float."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax

from millijoule.converters.importer import emit_composite, tensor_type
from millijoule.converters.ops import VOCABULARY
from millijoule.targets.passes.quantize.numbers import (
    INT32_LIMIT,
    common_multiplier,
    fixed,
    fraction_for,
)
from millijoule.targets.passes.quantize.values import (
    Affine,
    Plain,
    Value,
    affine,
    channels,
    fixed_point,
)


class Emitter:
    """Emits conversions into a block; a value is converted to float once only."""

    def __init__(self, builder: relax.BlockBuilder) -> None:
        self.builder = builder
        self._floats: dict[relax.Expr, tuple[Affine, relax.Expr]] = {}

    def emit(self, expr: relax.Expr, name: str = "") -> relax.Var:
        """Bind ``expr`` to a new variable."""
        return self.builder.emit(expr, name)

    def op(self, name: str, attrs: dict[str, Any], operands: list[relax.Expr], layer: str) -> Any:
        """A call of vocabulary op ``name``."""
        return emit_composite(self.builder, VOCABULARY[name], attrs, operands, layer)

    def cast(self, value: Affine, dtype: str) -> relax.Expr:
        """The integers of ``value`` in ``dtype``, which must hold them."""
        if value.dtype == dtype:
            return value.expr
        return self.emit(relax.op.astype(value.expr, dtype))

    def plain(self, value: Value) -> relax.Expr:
        """The value as the float program has it."""
        if isinstance(value, Plain):
            return value.expr
        known = self._floats.get(value.expr)
        if known is not None and known[0] is value:
            return known[1]
        result = self._to_float(value)
        self._floats[value.expr] = value, result
        return result

    def _to_float(self, value: Affine) -> relax.Expr:
        expr = self.emit(relax.op.astype(value.expr, "float32"))
        if (value.scale != 1).any():
            expr = self.emit(relax.op.multiply(expr, _constant(value.scale, "float32")))
        if value.bias.any():
            expr = self.emit(relax.op.add(expr, _constant(value.bias, "float32")))
        return expr

    def to_fixed(self, value: Affine, fraction: int) -> Affine:
        """``value`` as int32 fixed point of ``fraction`` bits, each element rounded once."""
        old, bound = value.fraction, float(value.real_bound.max()) * 2.0**fraction + 1
        if old == fraction and value.dtype == "int32":
            return value
        if bound > INT32_LIMIT:
            raise OverflowError("a fixed-point value outgrows int32")
        if old is not None and old <= fraction:
            wide = self.cast(value, "int64")
            shifted = relax.op.left_shift(wide, _scalar(fraction - old))
            return fixed_point(self._narrow(self.emit(shifted)), fraction, bound)
        multiplier, right = common_multiplier(value.scale * 2.0**fraction)
        offset = fixed(value.bias, fraction)
        width = width_of(value.expr)
        factors, offsets = channels(multiplier, width), channels(offset, width)
        if factors is None or offsets is None:
            return fixed_point(self._rescaled(value, multiplier, right, offset), fraction, bound)
        operands = [relax.const(row.astype(np.int32)) for row in (factors, offsets)]
        result = self.op("rescale", {"right": right}, [self.cast(value, "int32"), *operands], "")
        return fixed_point(result, fraction, bound)

    def _rescaled(
        self, value: Affine, multiplier: np.ndarray, right: int, offset: np.ndarray
    ) -> relax.Expr:
        """What ``rescale`` computes, with factors that vary along other axes than the last."""
        wide = self.cast(value, "int64")
        product = self.emit(relax.op.multiply(wide, _constant(multiplier, "int64")))
        rounded = self.emit(relax.op.add(product, _scalar(1 << (right - 1))))
        shifted = self.emit(relax.op.right_shift(rounded, _scalar(right)))
        return self._narrow(self.emit(relax.op.add(shifted, _constant(offset, "int64"))))

    def _narrow(self, expr: relax.Expr) -> relax.Expr:
        return self.emit(relax.op.astype(expr, "int32"))

    def total(self, a: Affine, b: Affine) -> Affine | None:
        """``a + b`` on integers, or None where int32 cannot hold it."""
        if a.shape != b.shape:
            return None
        if not np.array_equal(a.scale, b.scale):
            reach = a.real_bound.max() + b.real_bound.max()
            fraction = fraction_for(float(reach))
            if fraction < 0:
                return None
            a, b = self.to_fixed(a, fraction), self.to_fixed(b, fraction)
        if a.bound + b.bound > INT32_LIMIT:
            return None
        left, right = self.cast(a, "int32"), self.cast(b, "int32")
        expr = self.emit(relax.op.add(left, right))
        return affine(expr, a.scale, a.bias + b.bias, a.bound + b.bound)


def _constant(array: np.ndarray, dtype: str) -> tvm.ir.Constant:
    """A constant; a single number has rank 0, so that it fits any tensor."""
    array = array.reshape(()) if array.size == 1 else array
    return relax.const(np.ascontiguousarray(array), dtype)


def _scalar(value: int) -> tvm.ir.Constant:
    return relax.const(np.int64(value), "int64")


def width_of(expr: relax.Expr) -> int:
    """Length of the last axis."""
    return tensor_type(expr).shape[-1]
