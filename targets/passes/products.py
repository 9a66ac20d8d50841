"""Matrix products without constant weights → `batched_f32`, reading and writing through strides."""

from __future__ import annotations

import math
from collections.abc import Mapping

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from millijoule.converters.importer import relax_type, tensor_type
from millijoule.converters.ops import TensorType
from millijoule.sizes import Size
from millijoule.targets.kernels.gemm.batched import batched_f32
from millijoule.targets.passes.chain import count_uses
from millijoule.targets.passes.match import constant, op_name
from millijoule.targets.passes.meta import KernelMeta, call_kernel
from millijoule.targets.passes.rewrite_main import rewrite_main
from millijoule.targets.passes.strided import (
    as_result,
    flat_operands,
    order_of,
    result_view,
    with_batch,
)
from millijoule.targets.passes.views import TensorView, view_of
from millijoule.targets.target import Isa


def lower_products(isa: Isa, layers: Mapping[str, str]) -> tvm.transform.Pass:
    """The pass over function ``main``; ``layers`` maps variable names to layer names."""
    return rewrite_main("LowerProducts", lambda mod: _Lowering(mod, isa, layers))


@mutator
class _Lowering(PyExprMutator):
    def __init__(self, mod: tvm.IRModule, isa: Isa, layers: Mapping[str, str]) -> None:
        super().__init__(mod)
        main = mod["main"]
        self._bound = {b.var: b.value for block in main.body.blocks for b in block.bindings}
        self._uses, self._isa, self._layers = count_uses(main), isa, layers

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        views = self._match(binding.value)
        if views is None:
            super().visit_var_binding_(binding)
            return
        value = self._emit(views, binding.var)
        self.set_var_remap(binding.var, self.builder_.emit(value, binding.var.name))

    def _match(self, call: relax.Expr) -> tuple[TensorView, TensorView] | None:
        """Both operands with the batch dimensions of the result."""
        if op_name(call) != "relax.matmul":
            return None
        weights = constant(call.args[1], self._bound.get)
        if weights is not None and weights.ndim == 2:
            return None  # packed when built
        types = [tensor_type(e) for e in (call, *call.args)]
        if any(t.dtype != "float32" or len(t.shape) < 2 or not t.size for t in types):
            return None
        batch = types[0].shape[:-2]
        views = [with_batch(view_of(a, self._bound), batch) for a in call.args]
        x, w = views
        if x is None or w is None or any(isinstance(d, Size) for d in (x.shape[-1], w.shape[-1])):
            return None  # tiles of columns and chains of products have a fixed length
        return x, w

    def _emit(self, views: tuple[TensorView, TensorView], var: relax.Var) -> relax.Expr:
        (*batch, m, k), n = views[0].shape, views[1].shape[-1]
        strided, operands = flat_operands(self, views)
        order = order_of(var, self._bound, self._uses)
        written, y_view = result_view((*batch, m, n), order)
        types = [tensor_type(o) for o in operands]
        form = batched_f32(tuple(batch), (m, n, k), strided, y_view, types, self._isa)
        result = relax_type(TensorType((math.prod(written),), "float32"))
        layer, products = self._layers.get(var.name, ""), math.prod(batch) * m * n * k
        meta = KernelMeta("matmul", layer, results=1, multiplies=products, adds=products)
        y = self.builder_.emit(call_kernel(self.builder_, form, operands, [result], meta))
        return as_result(self.builder_, y, written, order, tensor_type(var).shape)
