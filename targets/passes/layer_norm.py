"""Layer norms over the last axis → a kernel, with the addition in front and the elementwise tail.

The addition is taken along if nothing else reads its sum; a residual that goes on belongs to the
product in front of it (see `chain`), whose pass comes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator

from millijoule.converters.importer import tensor_type
from millijoule.sizes import Size
from millijoule.targets.kernels.norm.layer import LayerNorm, layer_norm_f32
from millijoule.targets.passes.chain import Bound, Chain, ChainLowering, count_uses, find_chains
from millijoule.targets.passes.match import op_name
from millijoule.targets.passes.meta import KernelMeta, call_kernel
from millijoule.targets.passes.rewrite_main import rewrite_main
from millijoule.targets.target import Isa


@dataclass(frozen=True)
class _Norm:
    """The root of a chain: ``operands`` are x, perhaps a second one to add, γ and β."""

    norm: LayerNorm
    operands: list[relax.Expr]


def lower_layer_norm(isa: Isa, layers: Mapping[str, str]) -> tvm.transform.Pass:
    """The pass over function ``main``; nothing is done for units without vectors."""

    def lowering(mod: tvm.IRModule) -> PyExprMutator:
        uses = count_uses(mod["main"])

        def match(var: relax.Var, call: relax.Expr, bound: Bound) -> _Norm | None:
            return _match(call, bound, uses) if isa.lanes > 1 else None

        def emit(mutator: PyExprMutator, chain: Chain[_Norm], ty: relax.TensorType) -> relax.Expr:
            return _emit(mutator, chain, ty, isa)

        return ChainLowering(mod, find_chains(mod["main"], match, layers), emit)

    return rewrite_main("LowerLayerNorm", lowering)


def _match(call: relax.Expr, bound: Bound, uses: Mapping[relax.Var, int]) -> _Norm | None:
    """The norm that `layer_norm_f32` computes, if ``call`` is one."""
    if op_name(call) != "relax.nn.layer_norm":
        return None
    x, gamma, beta = call.args
    attrs, of_x = call.attrs, tensor_type(x)
    rank = len(of_x.shape)
    if [int(a) % rank for a in attrs.axes] != [rank - 1] or of_x.dtype != "float32":
        return None
    if isinstance(of_x.shape[-1], Size):
        return None  # blocks of a row are unrolled
    scale, center = bool(attrs.scale), bool(attrs.center)
    affine = [v for v, used in ((gamma, scale), (beta, center)) if used]
    if any(tensor_type(v).dtype != "float32" for v in affine):
        return None
    terms = _terms(x, bound, uses)
    norm = LayerNorm(
        of_x.size // of_x.shape[-1],
        of_x.shape[-1],
        float(attrs.epsilon),
        len(terms) == 2,
        scale,
        center,
    )
    return _Norm(norm, [*terms, *affine])


def _terms(x: relax.Expr, bound: Bound, uses: Mapping[relax.Var, int]) -> list[relax.Expr]:
    """Both operands of the addition that ``x`` is and that only the norm reads; else ``x``."""
    call = bound.get(x)
    if call is None or op_name(call) != "relax.add" or uses[x] != 1:
        return [x]
    same = all(tensor_type(v) == tensor_type(x) for v in call.args)
    return list(call.args) if same else [x]


def _emit(
    mutator: PyExprMutator, chain: Chain[_Norm], ty: relax.TensorType, isa: Isa
) -> relax.Expr:
    norm, result = chain.root.norm, tensor_type(chain.last)
    operands, extra = (
        [mutator.visit_expr(v) for v in values] for values in (chain.root.operands, chain.operands)
    )
    types, more = ([tensor_type(v) for v in values] for values in (operands, extra))
    size = result.size
    form = layer_norm_f32(norm, types, more, result, chain.steps, isa)
    multiplies, adds = chain.arithmetic(result)
    meta = KernelMeta(
        op="layer_norm",
        layer=chain.layer,
        results=1,
        multiplies=multiplies + size * (2 + norm.scale),
        adds=adds + size * (4 + norm.summed + norm.center),
    )
    return call_kernel(mutator.builder_, form, [*operands, *extra], [ty], meta)
