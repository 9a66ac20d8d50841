"""Vocabulary calls → kernels: the target's own where it has one, else the op's naive function."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from millijoule.converters.importer import (
    ATTRS_KEY,
    COMPOSITE_PREFIX,
    LAYER_KEY,
    relax_type,
    tensor_type,
)
from millijoule.converters.ops import VOCABULARY
from millijoule.errors import UnsupportedError
from millijoule.targets.kernels import CONSTANT_FACTS, KernelBuilder, KernelForm
from millijoule.targets.passes.match import constant
from millijoule.targets.passes.meta import KernelMeta, call_kernel
from millijoule.targets.passes.rewrite_main import rewrite_main
from millijoule.targets.target import Isa


def lower_vocabulary(kernels: Mapping[str, KernelBuilder], isa: Isa) -> tvm.transform.Pass:
    """The pass; ``kernels`` maps op names to builders of scheduled forms."""
    return rewrite_main("LowerVocabulary", lambda mod: _Lowering(mod, kernels, isa))


@mutator
class _Lowering(PyExprMutator):
    def __init__(self, mod: tvm.IRModule, kernels: Mapping[str, KernelBuilder], isa: Isa) -> None:
        super().__init__(mod)
        self._mod, self._kernels, self._isa = mod, kernels, isa

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        if not isinstance(call.op, tvm.ir.GlobalVar):
            return call
        callee = self._mod[call.op]
        composite = callee.attrs.get("Composite") if callee.attrs else None
        if composite is None:
            return call
        op = VOCABULARY[str(composite).removeprefix(COMPOSITE_PREFIX)]
        attrs = json.loads(str(callee.attrs[ATTRS_KEY]))
        types = [tensor_type(a) for a in call.args]
        layer = str(callee.attrs[LAYER_KEY])
        builder = self._kernels.get(op.name)
        if op.name in CONSTANT_FACTS:
            name, operand, facts_of = CONSTANT_FACTS[op.name]
            value = constant(call.args[operand], self.lookup_binding)
            attrs |= {} if value is None else {name: facts_of(value)}
        form = builder(attrs, types, self._isa) if builder else KernelForm(op.naive(attrs, types))
        args = list(call.args)
        for i, pack in form.packed.items():
            args[i] = relax.const(pack(self._constant(args[i], layer)))
        results = op.results(attrs, types)
        meta = KernelMeta.of_vocabulary(op, attrs, types, layer, scheduled=builder is not None)
        return call_kernel(self.builder_, form, args, [relax_type(r) for r in results], meta)

    def _constant(self, expr: relax.Expr, layer: str) -> np.ndarray:
        """Value of weights that a kernel wants in a layout of its own."""
        value = constant(expr, self.lookup_binding)
        if value is None:
            raise UnsupportedError(f"[{layer}] int8 weights must be constant, but are computed")
        return value
