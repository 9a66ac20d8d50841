"""float16 as the type that numbers are stored in: weights, and what lies between kernels.

The last pass over kernels, whatever they do: a buffer of float32 becomes one of float16, a load a
load and a widening, a store a rounding and a store. What a kernel computes in is its own affair:
most stay in float32 (sums, norms, softmax, activation functions), and products that multiply in
float16 narrow what they load, which cancels against the widening.

Float32 stay the program's inputs, outputs and states; scratch memory; constants of less than
`SMALL` elements (biases, scales) or with values that float16 cannot hold; and results that a kernel
reads back, for it may be summing in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx
from tvm.relax.expr_functor import PyExprMutator, mutator
from tvm_ffi import structural_map, structural_walk

from millijoule.converters.importer import from_relax_type, relax_type, tensor_type
from millijoule.converters.ops import TensorType
from millijoule.targets.passes.match import op_name
from millijoule.targets.passes.meta import KernelMeta
from millijoule.targets.passes.rewrite_main import rewrite_main

HALF, SINGLE = "float16", "float32"
SMALL = 1024
_CALL_TIR = "relax.call_tir"


def store_half() -> tvm.transform.Pass:
    """The pass over function ``main``, whose kernels all have their meta."""
    return rewrite_main("StoreHalf", _Storing)


@mutator
class _Storing(PyExprMutator):
    def __init__(self, mod: tvm.IRModule) -> None:
        super().__init__(mod)
        self._mod = mod
        self._returned = _returned(mod["main"])
        self._stored: dict[relax.Var, bool] = {}
        self._done: dict[tuple[Any, tuple[bool, ...]], Any] = {}
        self._var: relax.Var | None = None

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        self._var = binding.var
        super().visit_var_binding_(binding)

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        var = self._var
        call = self.visit_expr_post_order(call)
        if op_name(call) != _CALL_TIR or var is None:
            return call
        gv, operands = call.args[0], [_stored(a) for a in call.args[1].fields]
        func = self._mod[gv]
        meta = KernelMeta.of_function(func)
        results = [from_relax_type(t) for t in _types(call.ty_args[0])]
        kept = self._returned.get(var, set())
        whole = not isinstance(call.ty_args[0], relax.TupleType)
        read = _read(func)
        half = [tensor_type(a).dtype == HALF for a in operands]
        first = len(operands)
        for i, t in enumerate(results):
            wanted = kept and (whole or i in kept)
            scratch = meta is not None and i >= meta.results
            back = func.params[first + i] in read
            half.append(t.dtype == SINGLE and not (wanted or scratch or back))
        if not any(half):
            return call
        key = (gv, tuple(half))
        if key not in self._done:
            self._done[key] = self.builder_.add_func(_in_half(func, half), gv.name_hint)
        types = [
            relax_type(TensorType(t.shape, HALF if h else t.dtype))
            for t, h in zip(results, half[first:], strict=True)
        ]
        return relax.call_tir(self._done[key], operands, types[0] if whole else types)


def _types(ty: Any) -> Sequence[Any]:
    return list(ty.fields) if isinstance(ty, relax.TupleType) else [ty]


def _stored(expr: relax.Expr) -> relax.Expr:
    """A large constant in float16 if that holds its values, all else as it is."""
    if not isinstance(expr, tvm.ir.Constant):
        return expr
    value = expr.value.numpy()
    if value.dtype != np.float32 or value.size < SMALL:
        return expr
    with np.errstate(over="ignore"):
        narrow = value.astype(np.float16)
    lost = np.isinf(narrow) & np.isfinite(value)
    return expr if lost.any() else relax.const(narrow)


def _returned(main: relax.Function) -> dict[relax.Var, set[int]]:
    """Variables whose value leaves ``main``: which fields, those of a tensor being field 0."""
    bound = {b.var: b.value for block in main.body.blocks for b in block.bindings}
    found: dict[relax.Var, set[int]] = {}

    def visit(expr: relax.Expr, field: int) -> None:
        if isinstance(expr, relax.Tuple):
            for item in expr.fields:
                visit(item, 0)
        elif isinstance(expr, relax.TupleGetItem):
            source = expr.tuple_value
            value = bound.get(source) if isinstance(source, relax.Var) else source
            if isinstance(value, relax.Tuple):
                visit(value.fields[expr.index], 0)
            else:
                visit(source, expr.index)
        elif isinstance(expr, relax.Var):
            found.setdefault(expr, set()).add(field)
            if expr in bound:
                visit(bound[expr], field)
        elif op_name(expr) == "relax.reshape":
            visit(expr.args[0], 0)

    visit(main.body.body, 0)
    return found


def _read(func: tirx.PrimFunc) -> set[Any]:
    """Buffers that ``func`` loads from."""
    found: set[Any] = set()
    structural_walk(func.body, (tvm.ir.expr.TensorLoad, lambda load: found.add(load.source)))
    return found


def _in_half(func: tirx.PrimFunc, half: Sequence[bool]) -> tirx.PrimFunc:
    """``func`` with the parameters that ``half`` marks stored in float16."""
    params = [
        tirx.decl_buffer(p.shape, HALF, p.name) if h else p
        for p, h in zip(func.params, half, strict=True)
    ]
    new = {old: p for old, p, h in zip(func.params, params, half, strict=True) if h}
    stored = set(new.values())

    def load(node: Any) -> Any:
        if node.source not in stored:
            return node
        narrow = node.source[tuple(node.indices)]
        return tirx.Cast(str(narrow.ty.dtype).replace(HALF, SINGLE), narrow)

    def store(node: Any) -> Any:
        if node.buffer not in stored:
            return node
        wide = str(node.value.ty.dtype)
        return tirx.BufferStore(
            node.buffer, _narrow(wide.replace(SINGLE, HALF), node.value), node.indices
        )

    def cast(node: Any) -> Any:
        wanted = str(node.ty.dtype)
        return _narrow(wanted, node.value) if wanted.startswith(HALF) else node

    def call(node: Any) -> Any:
        if getattr(node.op, "name", "") != "tirx.address_of" or not node.args:
            return node
        (place,) = node.args
        if not isinstance(place, tirx.Cast):
            return node
        return tvm.ir.Call(node.op, [place.value], node.attrs)

    rules = (
        (tirx.Var, lambda v: new.get(v, v)),
        (tvm.ir.expr.TensorLoad, load),
        (tirx.BufferStore, store),
        (tirx.Cast, cast),
        (tvm.ir.Call, call),
    )
    body = structural_map(func.body, rules)
    return tirx.PrimFunc(params, body, func.ret_type, func.attrs)


def _narrow(dtype: str, value: Any) -> Any:
    """``value`` as ``dtype``; a widening just before is taken back instead."""
    if isinstance(value, tirx.Cast) and str(value.value.ty.dtype) == dtype:
        return value.value
    return tirx.Cast(dtype, value)
