"""Concatenations → copies of rows; a slice that is only concatenated is read in place.

That makes the window of a streaming convolution, ``concat(window[1:], x)``, one kernel.
"""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from millijoule.converters.importer import tensor_type
from millijoule.targets.kernels.concat import Part, concat
from millijoule.targets.passes.match import constants, op_name
from millijoule.targets.passes.meta import KernelMeta, call_kernel
from millijoule.targets.passes.rewrite_main import rewrite_main
from millijoule.targets.target import Isa


def lower_concat(isa: Isa) -> tvm.transform.Pass:
    """The pass over function ``main``."""
    return rewrite_main("LowerConcat", lambda mod: _Lowering(mod, isa))


@mutator
class _Lowering(PyExprMutator):
    def __init__(self, mod: tvm.IRModule, isa: Isa) -> None:
        super().__init__(mod)
        self._isa = isa

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        if op_name(call) != "relax.concat":
            return call
        result = tensor_type(call)
        axis = int(call.attrs.axis) % len(result.shape)
        fields = [self._part(field, axis) for field in self._fields(call.args[0])]
        form = concat([part for _, part in fields], result, axis, self._isa)
        meta = KernelMeta(op="concat", layer="", results=1)
        return call_kernel(self.builder_, form, [source for source, _ in fields], [call.ty], meta)

    def _fields(self, values: relax.Expr) -> list[relax.Expr]:
        if isinstance(values, relax.Tuple):
            return list(values.fields)
        count = len(values.ty.fields)
        return [self.builder_.emit(relax.TupleGetItem(values, i)) for i in range(count)]

    def _part(self, field: relax.Expr, axis: int) -> tuple[relax.Expr, Part]:
        """The tensor that ``field`` is read from, and which part of it."""
        bound = self.lookup_binding(field) if isinstance(field, relax.Var) else field
        start = _slice_start(bound, axis)
        if start is None:
            return field, Part.whole(tensor_type(field), axis)
        source = bound.args[0]
        stop = start + tensor_type(field).shape[axis]
        return source, Part(tensor_type(source), start, stop)


def _slice_start(expr: relax.Expr | None, axis: int) -> int | None:
    """Where a slice of neighbouring elements along ``axis`` alone begins; None for all else."""
    if expr is None or op_name(expr) != "relax.strided_slice":
        return None
    source, axes, begin, _, *strides = expr.args
    starts = constants(begin)
    if constants(axes) != [axis] or starts is None:
        return None
    if strides and constants(strides[0]) != [1]:
        return None
    return starts[0] if starts[0] >= 0 else starts[0] + tensor_type(source).shape[axis]
