"""Emitting ordinary operators on behalf of one vocabulary op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

from millijoule.converters.importer import tensor_type


class Expansion:
    """Emits operators that all belong to ``layer``."""

    def __init__(
        self,
        builder: relax.BlockBuilder,
        layer: str,
        emit: Callable[[relax.Expr, str], relax.Var],
    ) -> None:
        self.builder, self.layer, self._emit = builder, layer, emit

    def __call__(self, expr: relax.Expr) -> relax.Var:
        """Bind ``expr`` to a variable."""
        return self._emit(expr, self.layer)

    def floats(self, value: relax.Expr) -> relax.Expr:
        """``value`` as float32."""
        if str(value.ty.dtype) == "float32":
            return value
        return self(relax.op.astype(value, "float32"))

    def rows(self, params: relax.Expr) -> list[relax.Expr]:
        """The rows of ``params [R, C]``, each [C]; constants stay constants."""
        value = constant_of(params)
        if value is not None:
            return [relax.const(np.ascontiguousarray(row)) for row in value]
        count, width = tensor_type(params).shape
        slices = (self(relax.op.strided_slice(params, [0], [i], [i + 1])) for i in range(count))
        return [self(relax.op.reshape(piece, (width,))) for piece in slices]


Form = Callable[[Expansion, dict[str, Any], Sequence[relax.Expr]], tuple[relax.Expr, ...]]


def constant_of(expr: relax.Expr) -> np.ndarray | None:
    """Value of a constant, else None."""
    return expr.value.numpy() if isinstance(expr, tvm.ir.Constant) else None


def required_constant(expr: relax.Expr, what: str) -> np.ndarray:
    """Value of a constant that converters always make; ValueError names ``what`` otherwise."""
    value = constant_of(expr)
    if value is None:
        raise ValueError(f"{what} must be constant")
    return value
