"""Ordinary operators → TIR: TVM's legalisations, and ours where its CPU code is slow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from tvm import relax, te

from millijoule.targets.kernels.epilogue import UNARY
from millijoule.targets.passes import legal_arg, legal_norms
from millijoule.targets.passes.legal_hyperbolic import hyperbolic
from millijoule.targets.target import Isa

# What an operator becomes; None leaves it to TVM
Legalisation = Callable[[relax.BlockBuilder, relax.Call], relax.Expr | None]

# TVM's default calls a scalar library function for these; LLVM vectorises the epilogue's forms.
# A GPU's library functions are as good as its threads are scalar.
_POINTWISE = ("relax.erf", "relax.nn.gelu")
_OURS: dict[str, Legalisation] = {
    "relax.argmax": legal_arg.argmax,
    "relax.argmin": legal_arg.argmin,
    "relax.cosh": hyperbolic,
    "relax.sinh": hyperbolic,
    "relax.nn.group_norm": legal_norms.group_norm,
    "relax.nn.instance_norm": legal_norms.instance_norm,
}


def legalise(isa: Isa) -> tvm.transform.Pass:
    """LegalizeOps with our table in front."""
    vectors = () if isa.gpu else _POINTWISE
    table = {name: _pointwise(name) for name in vectors} | _OURS
    return relax.transform.LegalizeOps({n: _or_default(n, ours) for n, ours in table.items()})


def _or_default(name: str, ours: Legalisation) -> Any:
    def apply(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        result = ours(builder, call)
        if result is not None:
            return result
        return tvm.ir.Op.get(name).get_attr("FLegalize")(builder, call)

    return apply


def _pointwise(name: str) -> Legalisation:
    def compute(x: te.Tensor) -> te.Tensor:
        return te.compute(x.shape, lambda *i: UNARY[name](x(*i), 1), name=name.rsplit(".", 1)[1])

    def apply(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr | None:
        if str(call.args[0].ty.dtype) != "float32":
            return None
        return builder.call_te(compute, call.args[0], primfunc_name_hint=name.rsplit(".", 1)[1])

    return apply
