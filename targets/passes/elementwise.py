"""Legalisations of ours for operators whose TVM default calls a scalar library function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from tvm import relax, te

from millijoule.targets.kernels.epilogue import UNARY


def _legalise(name: str) -> Callable[[relax.BlockBuilder, relax.Call], relax.Expr]:
    def pointwise(x: te.Tensor) -> te.Tensor:
        return te.compute(x.shape, lambda *i: UNARY[name](x[i], 1), name=name.rsplit(".", 1)[1])

    def legalise(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        if str(call.args[0].ty.dtype) != "float32":
            return call
        return builder.call_te(pointwise, call.args[0])

    return legalise


LEGALISATIONS: dict[str, Any] = {name: _legalise(name) for name in ("relax.erf", "relax.nn.gelu")}


def legalise() -> tvm.transform.Pass:
    """LegalizeOps with the vectorisable forms of the epilogue table."""
    return relax.transform.LegalizeOps(LEGALISATIONS)
