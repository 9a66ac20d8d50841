"""Channels-last ``resize2d`` → a kernel with tables, where it knows the method."""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from millijoule.converters.importer import tensor_type
from millijoule.sizes import Size
from millijoule.targets.kernels.conv.resize import Table, resize_f32, table
from millijoule.targets.passes.match import op_name
from millijoule.targets.passes.meta import KernelMeta, call_kernel
from millijoule.targets.passes.rewrite_main import rewrite_main
from millijoule.targets.target import Isa


def lower_resize(isa: Isa) -> tvm.transform.Pass:
    """The pass over function ``main``."""
    return rewrite_main("LowerResize", lambda mod: _Resizes(mod, isa))


@mutator
class _Resizes(PyExprMutator):
    def __init__(self, mod: tvm.IRModule, isa: Isa) -> None:
        super().__init__(mod)
        self._isa = isa

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        if op_name(call) != "relax.image.resize2d" or str(call.attrs.layout) != "NHWC":
            return call
        x, result = tensor_type(call.args[0]), tensor_type(call)
        if any(isinstance(d, Size) for d in (*x.shape[1:], *result.shape[1:])):
            return call
        rows, columns = (_table(call, x.shape[a], result.shape[a]) for a in (1, 2))
        if rows is None or columns is None or {x.dtype, result.dtype} != {"float32"}:
            return call
        form = resize_f32(x, rows, columns, result, self._isa)
        tables = [relax.const(a) for t in (rows, columns) for a in (t.inputs, t.weights)]
        mixes = result.size * (not (rows.nearest and columns.nearest))
        meta = KernelMeta(op="resize2d", layer="", results=1, multiplies=6 * mixes, adds=3 * mixes)
        return call_kernel(self.builder_, form, [call.args[0], *tables], [call.ty], meta)


def _table(call: relax.Call, size: int, out: int) -> Table | None:
    a = call.attrs
    names = (a.method, a.coordinate_transformation_mode, a.rounding_method)
    return table(size, out, *(str(name) for name in names))
