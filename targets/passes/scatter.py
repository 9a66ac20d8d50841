"""Scatters → kernels of ours: TVM's forms need its run-time library and do not check indices."""

from __future__ import annotations

import math

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from millijoule.converters.importer import tensor_type
from millijoule.targets.kernels.scatter import scatter_elements, scatter_nd
from millijoule.targets.passes.match import op_name
from millijoule.targets.passes.meta import KernelMeta, call_kernel
from millijoule.targets.passes.rewrite_main import rewrite_main
from millijoule.targets.target import SCALAR, Isa


def lower_scatter_for(isa: Isa) -> tvm.transform.Pass:
    """The pass over function ``main``."""
    return rewrite_main("LowerScatter", lambda mod: _Lowering(mod, isa.gpu))


lower_scatter = lower_scatter_for(SCALAR)  # the same for every CPU


@mutator
class _Lowering(PyExprMutator):
    def __init__(self, mod: tvm.IRModule, gpu: bool) -> None:
        super().__init__(mod)
        self._gpu = gpu

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        name = op_name(call)
        if name == "relax.scatter_elements":
            types = [tensor_type(a) for a in call.args]
            axis = int(call.attrs.axis) % len(types[0].shape)
            reduction = str(call.attrs.reduction)
            form = scatter_elements(types[0], types[1], types[2], axis, reduction, gpu=self._gpu)
            meta = KernelMeta("scatter_elements", "", 1)
            return call_kernel(self.builder_, form, list(call.args), [call.ty], meta)
        if name == "relax.scatter_nd":
            return self._scatter_nd(call)
        return call

    def _scatter_nd(self, call: relax.Call) -> relax.Expr:
        data, indices, updates = (tensor_type(a) for a in call.args)
        form = scatter_nd(data, indices, updates, str(call.attrs.reduction), gpu=self._gpu)
        depth = indices.shape[-1]
        rows, row = math.prod(data.shape[:depth]), math.prod(data.shape[depth:])
        count = math.prod(indices.shape[:-1])
        flat = [
            self.builder_.emit(relax.op.reshape(a, shape))
            for a, shape in zip(call.args, [(rows, row), (count, depth), (count, row)], strict=True)
        ]
        result = relax.TensorType((rows, row), data.dtype)
        meta = KernelMeta("scatter_nd", "", 1)
        made = call_kernel(self.builder_, form, flat, [result], meta)
        return relax.op.reshape(self.builder_.emit(made), data.shape)
