"""A reshape of a reshape is one reshape: two would be fused into a kernel that copies."""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from millijoule.converters.importer import tensor_type
from millijoule.targets.passes.match import op_name
from millijoule.targets.passes.rewrite_main import rewrite_main

_RESHAPES = ("relax.expand_dims", "relax.flatten", "relax.reshape", "relax.squeeze")


def merge_reshapes() -> tvm.transform.Pass:
    """The pass over function ``main``; a reshape to the shape that is there already goes."""
    return rewrite_main("MergeReshapes", _Merging)


@mutator
class _Merging(PyExprMutator):
    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        if op_name(call) not in _RESHAPES:
            return call
        source = call.args[0]
        while True:
            bound = self.lookup_binding(source) if isinstance(source, relax.Var) else source
            if isinstance(bound, relax.Var):
                source = bound
            elif op_name(bound) in _RESHAPES:
                source = bound.args[0]
            else:
                break
        shape = tensor_type(call).shape
        return source if tensor_type(source).shape == shape else relax.op.reshape(source, shape)
