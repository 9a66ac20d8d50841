"""Group norms, also instance norms as torch takes them apart, → a kernel with the tail behind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator

from millijoule.converters.importer import tensor_type
from millijoule.sizes import Size
from millijoule.targets.kernels.norm.group import GroupNorm, group_norm_f32
from millijoule.targets.passes.chain import Bound, Chain, ChainLowering, find_chains
from millijoule.targets.passes.match import op_name
from millijoule.targets.passes.meta import KernelMeta, call_kernel
from millijoule.targets.passes.rewrite_main import rewrite_main
from millijoule.targets.target import Isa


@dataclass(frozen=True)
class _Norm:
    """The root of a chain: ``operands`` are x, γ and β."""

    norm: GroupNorm
    operands: list[relax.Expr]


def lower_group_norm(isa: Isa, layers: Mapping[str, str]) -> tvm.transform.Pass:
    """The pass over function ``main``; nothing is done for units without vectors."""

    def match(_: relax.Var, call: relax.Expr, bound: Bound) -> _Norm | None:
        return _match(call, isa)

    def emit(mutator: PyExprMutator, chain: Chain[_Norm], ty: relax.TensorType) -> relax.Expr:
        return _emit(mutator, chain, ty, isa)

    return rewrite_main(
        "LowerGroupNorm",
        lambda mod: ChainLowering(
            mod, find_chains(mod["main"], match, layers, columns=False), emit
        ),
    )


def _match(call: relax.Expr, isa: Isa) -> _Norm | None:
    """The norm that `group_norm_f32` computes, if ``call`` is one: of vectors of values."""
    if op_name(call) != "relax.nn.group_norm" or isa.lanes == 1:
        return None
    attrs, types = call.attrs, [tensor_type(v) for v in call.args]
    batch, channels, *within_channel = types[0].shape
    if any(isinstance(d, Size) for d in (channels, *within_channel)):
        return None  # blocks of a channel are unrolled
    rank, inside = len(types[0].shape), math.prod(within_channel)
    within = {int(a) % rank for a in attrs.axes} - {1}
    if int(attrs.channel_axis) % rank != 1 or within != set(range(2, rank)):
        return None
    plain = bool(attrs.scale) and bool(attrs.center)
    if not plain or inside < isa.lanes or {t.dtype for t in types} != {"float32"}:
        return None
    norm = GroupNorm(batch, channels, inside, int(attrs.num_groups), float(attrs.epsilon))
    return _Norm(norm, list(call.args))


def _emit(
    mutator: PyExprMutator, chain: Chain[_Norm], ty: relax.TensorType, isa: Isa
) -> relax.Expr:
    result = tensor_type(chain.last)
    operands, extra = (
        [mutator.visit_expr(v) for v in values] for values in (chain.root.operands, chain.operands)
    )
    types, more = ([tensor_type(v) for v in values] for values in (operands, extra))
    size = result.size
    form = group_norm_f32(chain.root.norm, types, more, result, chain.steps, isa)
    multiplies, adds = chain.arithmetic(result)
    meta = KernelMeta(
        op="group_norm",
        layer=chain.layer,
        results=1,
        multiplies=multiplies + 3 * size,
        adds=adds + 5 * size,
    )
    return call_kernel(mutator.builder_, form, [*operands, *extra], [ty], meta)
