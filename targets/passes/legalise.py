"""Ordinary operators → TIR: TVM's legalisations, and ours where its CPU code is slow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from tvm import relax, te

from millijoule.targets.kernels.epilogue import UNARY
from millijoule.targets.target import Isa

Legalisation = Callable[[relax.BlockBuilder, relax.Call], relax.Expr]

# TVM's default calls a scalar library function for these; LLVM vectorises the epilogue's forms
_POINTWISE = ("relax.erf", "relax.nn.gelu")


def legalise(isa: Isa) -> tvm.transform.Pass:
    """LegalizeOps with our table in front."""
    table: dict[str, Any] = {name: _pointwise(name) for name in _POINTWISE}
    return relax.transform.LegalizeOps(table)


def _pointwise(name: str) -> Legalisation:
    def compute(x: te.Tensor) -> te.Tensor:
        return te.compute(x.shape, lambda *i: UNARY[name](x(*i), 1), name=name.rsplit(".", 1)[1])

    def apply(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        if str(call.args[0].ty.dtype) != "float32":
            return call
        return builder.call_te(compute, call.args[0])

    return apply
