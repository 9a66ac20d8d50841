"""Binary layers and attention → kernels that hand on bits.

Signs of a value are packed once, by the kernel that computes it where it can, and shared by all
layers that read them; floats are written only for those who need them. Elementwise operators behind
a layer become its epilogue, as behind a dense one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
from millijoule.converters.ops import VOCABULARY, TensorType
from millijoule.targets.kernels import KernelForm
from millijoule.targets.kernels.binary.attention import BitAttention, bit_attention
from millijoule.targets.kernels.binary.linear import BitLinear, bit_linear, emits_planes
from millijoule.targets.kernels.binary.planes import pack_planes, planes_type
from millijoule.targets.kernels.binary.words import BITS, has_zero, words_of
from millijoule.targets.passes.binary_signs import (
    Needs,
    Signs,
    analyse,
    bound_of,
    composite_of,
    signs_of,
)
from millijoule.targets.passes.chain import Chain, find_chains
from millijoule.targets.passes.match import constant
from millijoule.targets.passes.meta import KernelMeta, call_kernel
from millijoule.targets.passes.rewrite_main import rewrite_main
from millijoule.targets.target import Isa

LINEAR, ATTENTION = "binary_linear", "binary_attention"


@dataclass(frozen=True)
class _Call:
    """A call of a binary op: what it reads, its attributes, the layer it belongs to."""

    op: str
    args: Sequence[relax.Expr]
    attrs: Mapping[str, Any]
    layer: str

    @property
    def types(self) -> list[TensorType]:
        """Types of the operands."""
        return [tensor_type(a) for a in self.args]


@dataclass(frozen=True)
class _Linear:
    """The root of a chain: a layer with constant weights int8 [O, K]."""

    call: _Call
    weights: np.ndarray

    @property
    def kernel(self) -> BitLinear:
        """What its kernel computes, without what comes behind."""
        outputs, inputs = self.weights.shape
        rows = self.call.types[0].size // inputs
        real = self.call.attrs["activations"] == "real"
        return BitLinear(rows, inputs, outputs, has_zero(self.weights), real)


def lower_binary(isa: Isa) -> tvm.transform.Pass:
    """The pass over function ``main``."""
    return rewrite_main("LowerBinary", lambda mod: _Lowering(mod, isa))


def _call_of(mod: tvm.IRModule, value: relax.Expr | None) -> _Call | None:
    callee = composite_of(mod, value)
    if callee is None or value is None:
        return None
    name = str(callee.attrs["Composite"]).removeprefix(COMPOSITE_PREFIX)
    if name not in (LINEAR, ATTENTION):
        return None
    attrs = json.loads(str(callee.attrs[ATTRS_KEY]))
    return _Call(name, list(value.args), attrs, str(callee.attrs[LAYER_KEY]))


@mutator
class _Lowering(PyExprMutator):
    """Emits the kernels; ``_planes`` holds what has been packed so far."""

    def __init__(self, mod: tvm.IRModule, isa: Isa) -> None:
        super().__init__(mod)
        self._isa, main = isa, mod["main"]
        self._bound = bound_of(main)
        self._attentions = {
            var: call
            for var, value in self._bound.items()
            if (call := _call_of(mod, value)) and call.op == ATTENTION
        }

        def match(_: relax.Var, value: relax.Expr, bound: Any) -> _Linear | None:
            call = _call_of(mod, value)
            weights = constant(call.args[1], bound.get) if call and call.op == LINEAR else None
            return _Linear(call, weights) if call and weights is not None else None

        self._chains, self._inner = find_chains(main, match, {})
        self._kernels = {*self._chains, *self._attentions}
        self._needs: Needs = analyse(main, self._reads, self._emits)
        self._planes: dict[Signs, relax.Expr] = {}

    # what is read

    def _reads(self, var: relax.Var, _: relax.Expr) -> tuple[list[Signs], list[relax.Expr]] | None:
        if var in self._attentions:
            call = self._attentions[var]
            signs = self._attention_signs(call)
            return (signs, list(call.args[3:])) if signs else None
        chain = self._chains.get(var)
        if chain is None:
            return None
        x, *others = chain.root.call.args
        found = signs_of(x, self._bound, self._kernels)
        if chain.root.kernel.real or found is None:
            return [], [x, *others, *chain.operands]
        return [found], [*others, *chain.operands]

    def _attention_signs(self, call: _Call) -> list[Signs]:
        """q, k and v as planes, heads in words of their own; none if one is no variable."""
        size = BitAttention.of(call.attrs, call.types).size
        group = None if size % BITS == 0 else size
        found = [signs_of(x, self._bound, self._kernels, group) for x in call.args[:3]]
        return [s for s in found if s is not None] if None not in found else []

    def _emits(self, signs: Signs) -> bool:
        """Whether the kernel that computes the source of ``signs`` packs them itself."""
        if not signs.plain:
            return False
        call = self._attentions.get(signs.source)
        if call is not None:
            return BitAttention.of(call.attrs, call.types).size % BITS == 0 and self._isa.lanes > 1
        chain = self._chains.get(signs.source)
        return chain is not None and emits_planes(chain.root.kernel, self._isa)

    def _emitted(self, source: relax.Var) -> tuple[Signs | None, bool]:
        """The planes that the kernel of ``source`` emits, and whether others are packed later."""
        wanted = self._needs.planes.get(source, [])
        emitted = next((s for s in wanted if self._emits(s)), None)
        return emitted, any(s != emitted for s in wanted)

    # what is emitted

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        var = binding.var
        if var in self._inner or not self._needs.alive(var):
            return
        item = binding.value
        if isinstance(item, relax.TupleGetItem) and item.tuple_value in self._attentions:
            return  # named where the attention is
        if var in self._attentions:
            self._attention(var, self._attentions[var])
        elif var in self._chains:
            self._linear(var, self._chains[var])
        else:
            super().visit_var_binding_(binding)

    def _signs(self, signs: Signs, layer: str) -> relax.Expr:
        """The planes ``signs``, packed now if no kernel has."""
        if signs not in self._planes:
            x = self.visit_expr(self._context_of(signs.source))
            shift = None if signs.shift is None else tensor_type(signs.shift)
            form = pack_planes(tensor_type(x), self._isa, signs.group, shift, signs.above)
            args = [x] if signs.shift is None else [x, signs.shift]
            meta = KernelMeta(
                op="pack_signs",
                layer=layer,
                results=1,
                adds=0 if shift is None else tensor_type(x).size,
                named=False,
            )
            group = signs.group or tensor_type(x).shape[-1]
            rows, words = tensor_type(x).size // group, words_of(group)
            per_row = tensor_type(x).shape[-1] // group
            result = relax_type(planes_type(rows // per_row, per_row * words))
            value = call_kernel(self.builder_, form, args, [result], meta)
            self._planes[signs] = self.builder_.emit(value)
        return self._planes[signs]

    def _context_of(self, source: relax.Var) -> relax.Var:
        """The variable that holds the floats of ``source``."""
        return self._items(source, 0)[0] if source in self._attentions else source

    def _linear(self, var: relax.Var, chain: Chain[_Linear]) -> None:
        call, kernel = chain.root.call, chain.root.kernel
        signs = None if kernel.real else signs_of(call.args[0], self._bound, self._kernels)
        layer = replace(kernel, steps=tuple(chain.steps), packed=signs is not None)
        x = self._signs(signs, call.layer) if signs else self.visit_expr(call.args[0])
        emitted, others_pack = self._emitted(var)
        kinds: dict[str, TensorType] = {}
        if var in self._needs.floats or others_pack or emitted is None:
            kinds["floats"] = tensor_type(var)
        if emitted is not None:
            kinds["planes"] = planes_type(layer.rows, words_of(layer.outputs))
            layer = replace(layer, above=emitted.above)
        layer = replace(layer, emits=tuple(kinds))
        others = [self.visit_expr(a) for a in (*call.args[2:], *chain.operands)]
        form = bit_linear(
            layer, tensor_type(x), [tensor_type(o) for o in others], list(kinds.values()), self._isa
        )
        weights = relax.const(form.packed[1](chain.root.weights))
        meta = KernelMeta.of_vocabulary(
            VOCABULARY[LINEAR], call.attrs, call.types, call.layer, True
        )
        multiplies, adds = chain.arithmetic(tensor_type(var))
        meta = replace(
            meta,
            results=len(kinds),
            multiplies=meta.multiplies + multiplies,
            adds=meta.adds + adds,
            named="floats" in kinds and not chain.steps,
        )
        found = self._call(form, [x, weights, *others], kinds, meta)
        if "floats" in kinds:
            self.set_var_remap(var, found["floats"])
        if emitted is not None:
            self._planes[emitted] = found["planes"]

    def _attention(self, var: relax.Var, call: _Call) -> None:
        signs = self._attention_signs(call)
        inputs = [self._signs(s, call.layer) for s in signs]
        inputs = inputs or [self.visit_expr(a) for a in call.args[:3]]
        context, attended = VOCABULARY[ATTENTION].results(call.attrs, call.types)
        emitted, others_pack = self._emitted(var)
        kinds: dict[str, TensorType] = {}
        if self._wanted(var, 0) or others_pack or emitted is None:
            kinds["floats"] = context
        form = BitAttention.of(call.attrs, call.types, packed=bool(signs))
        planes = {} if emitted is None else {"planes": form.planes}
        # the map is the second result, where its tap looks for it
        if not kinds:
            kinds, planes = planes, {}
        if call.attrs["maps"] or self._wanted(var, 1):
            kinds["map"] = attended
        kinds |= planes
        args = [*inputs, *(self.visit_expr(a) for a in call.args[3:])]
        built = bit_attention(
            replace(form, emits=tuple(kinds)),
            [tensor_type(a) for a in args],
            list(kinds.values()),
            self._isa,
        )
        meta = KernelMeta.of_vocabulary(
            VOCABULARY[ATTENTION], call.attrs, call.types, call.layer, True
        )
        meta = replace(meta, results=len(kinds), named="floats" in kinds)
        found = self._call(built, args, kinds, meta)
        if emitted is not None:
            self._planes[emitted] = found["planes"]
        for item, name in enumerate(("floats", "map")):
            for user in self._items(var, item) if name in found else ():
                self.set_var_remap(user, found[name])

    def _items(self, source: relax.Var, index: int) -> list[relax.Var]:
        """Variables that hold one result of the call bound to ``source``."""
        return [
            var
            for var, value in self._bound.items()
            if isinstance(value, relax.TupleGetItem)
            and value.index == index
            and value.tuple_value.same_as(source)
        ]

    def _wanted(self, source: relax.Var, index: int) -> bool:
        return any(var in self._needs.floats for var in self._items(source, index))

    def _call(
        self,
        form: KernelForm,
        args: Sequence[relax.Expr],
        kinds: Mapping[str, TensorType],
        meta: KernelMeta,
    ) -> dict[str, relax.Expr]:
        types = [relax_type(t) for t in kinds.values()]
        value = call_kernel(self.builder_, form, args, types, meta)
        if len(kinds) == 1:
            return {name: self.builder_.emit(value) for name in kinds}
        return dict(zip(kinds, value.fields, strict=True))
