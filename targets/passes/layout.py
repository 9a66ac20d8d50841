"""Channels-last convolutions: the layout in which a step's values are contiguous.

``conv1d`` on [B, C, N] becomes a transpose, ``conv1d`` on [B, N, C], and a transpose; then pairs of
inverse transposes cancel, which leaves none between convolutions, nor around a model that is
written time-major in the first place.
"""

from __future__ import annotations

from collections.abc import Sequence

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from millijoule.targets.passes.match import op_name

_SWAP = [0, 2, 1]


@mutator
class _ChannelsLast(PyExprMutator):
    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        call = binding.value
        if op_name(call) != "relax.nn.conv1d" or str(call.attrs.data_layout) != "NCW":
            super().visit_var_binding_(binding)
            return
        attrs, weights = call.attrs, self.visit_expr(call.args[1])
        x = self.builder_.emit(relax.op.permute_dims(self.visit_expr(call.args[0]), _SWAP))
        y = relax.op.nn.conv1d(
            x,
            weights,
            strides=attrs.strides,
            padding=attrs.padding,
            dilation=attrs.dilation,
            groups=attrs.groups,
            data_layout="NWC",
            kernel_layout=attrs.kernel_layout,
            out_layout="NWC",
            out_dtype=attrs.out_dtype,
        )
        # the variable's name says which layer it is: keep it on the convolution
        named = self.builder_.emit(y, binding.var.name)
        self.set_var_remap(binding.var, self.builder_.emit(relax.op.permute_dims(named, _SWAP)))


@mutator
class _CancelTransposes(PyExprMutator):
    """``permute(permute(x))`` → x where the two are inverse, looking through bound variables."""

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        outer = _axes(call)
        if outer is None:
            return call
        source = call.args[0]
        bound = self.lookup_binding(source) if isinstance(source, relax.Var) else source
        inner = _axes(bound)
        if inner is not None and [inner[a] for a in outer] == list(range(len(outer))):
            return bound.args[0]
        return call


def _axes(expr: relax.Expr | None) -> Sequence[int] | None:
    """Axes of a ``permute_dims`` call, else None."""
    if expr is None or op_name(expr) != "relax.permute_dims":
        return None
    axes = expr.attrs.axes
    rank = len(expr.args[0].ty.shape)
    return [int(a) for a in axes] if axes is not None else list(reversed(range(rank)))


@tvm.transform.module_pass(opt_level=0, name="ChannelsLast")
def channels_last(mod: tvm.IRModule, _: tvm.transform.PassContext) -> tvm.IRModule:
    """The pass over function ``main``."""
    for rewrite in (_ChannelsLast, _CancelTransposes):
        mod.update_func(mod.get_global_var("main"), rewrite(mod).visit_expr(mod["main"]))
    return mod
