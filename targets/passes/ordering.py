"""Scans and sorts → kernels of ours: TVM's forms call its run-time library, which no bundle has."""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from millijoule.converters.importer import relax_type, tensor_type
from millijoule.converters.ops import TensorType
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.kernels.scan import around, scan
from millijoule.targets.kernels.sort import sort
from millijoule.targets.passes.match import op_name
from millijoule.targets.passes.meta import KernelMeta, call_kernel
from millijoule.targets.passes.rewrite_main import rewrite_main
from millijoule.targets.target import SCALAR, Isa


def lower_ordering_for(isa: Isa) -> tvm.transform.Pass:
    """The pass over function ``main``."""
    return rewrite_main("LowerOrdering", lambda mod: _Lowering(mod, isa.gpu))


lower_ordering = lower_ordering_for(SCALAR)  # the same for every CPU

Built = tuple[KernelForm, int]  # the kernel, and the length of its results along the axis


def _scan(call: relax.Call, x: TensorType, axis: int, gpu: bool) -> Built:
    product = op_name(call) == "relax.cumprod"
    if call.attrs.exclusive:
        raise ValueError("exclusive scans are taken apart by the front ends")
    dtype = tensor_type(call).dtype
    return scan(x, TensorType(x.shape, dtype), axis, product, gpu=gpu), x.shape[axis]


def _sort(call: relax.Call, x: TensorType, axis: int, gpu: bool) -> Built:
    count, down = x.shape[axis], bool(call.attrs.descending)
    return sort(x, axis, count, down, True, "", gpu=gpu), count


def _argsort(call: relax.Call, x: TensorType, axis: int, gpu: bool) -> Built:
    dtype = tensor_type(call).dtype
    count, down = x.shape[axis], bool(call.attrs.descending)
    return sort(x, axis, count, down, False, dtype, gpu=gpu), count


def _topk(call: relax.Call, x: TensorType, axis: int, gpu: bool) -> Built:
    kind, attrs = str(call.attrs.ret_type), call.attrs
    indices = "" if kind == "values" else str(attrs.dtype)
    keep = min(int(attrs.k), x.shape[axis]) if int(attrs.k) > 0 else x.shape[axis]
    largest, values = bool(attrs.largest), kind != "indices"
    return sort(x, axis, keep, largest, values, indices, gpu=gpu), keep


_FORMS: dict[str, Callable[[relax.Call, TensorType, int, bool], Built]] = {
    "relax.cumsum": _scan,
    "relax.cumprod": _scan,
    "relax.sort": _sort,
    "relax.argsort": _argsort,
    "relax.topk": _topk,
}


@mutator
class _Lowering(PyExprMutator):
    def __init__(self, mod: tvm.IRModule, gpu: bool) -> None:
        super().__init__(mod)
        self._gpu = gpu

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        build = _FORMS.get(op_name(call))
        if build is None:
            return call
        x = tensor_type(call.args[0])
        axis = call.attrs.axis
        if axis is None:
            raise ValueError("scans of flattened tensors are reshaped by the front ends")
        axis = int(axis) % len(x.shape)
        form, kept = build(call, x, axis, self._gpu)
        return self._call(call, form, x, axis, kept)

    def _call(
        self, call: relax.Call, form: KernelForm, x: TensorType, axis: int, kept: int
    ) -> relax.Expr:
        """The kernel on three axes: in front of, along and behind the one that counts."""
        outer, count, inner = around(x.shape, axis)
        emit = self.builder_.emit
        flat = emit(relax.op.reshape(call.args[0], (outer, count, inner)))
        ty = call.ty
        types = list(ty.fields) if isinstance(ty, relax.TupleType) else [ty]
        results = [relax_type(TensorType((outer, kept, inner), str(t.dtype.dtype))) for t in types]
        op = op_name(call).removeprefix("relax.")
        made = call_kernel(self.builder_, form, [flat], results, KernelMeta(op, "", len(results)))
        if len(types) == 1:
            return relax.op.reshape(emit(made), types[0].shape)
        parts = [emit(f) for f in made.fields]
        return relax.Tuple(
            [emit(relax.op.reshape(p, t.shape)) for p, t in zip(parts, types, strict=True)]
        )
