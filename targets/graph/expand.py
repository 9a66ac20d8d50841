"""The vocabulary → ordinary Relax operators, spikes → float32: what any format can write."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm import relax

from millijoule.converters.importer import (
    ATTRS_KEY,
    COMPOSITE_PREFIX,
    LAYER_KEY,
    relax_type,
    tensor_type,
)
from millijoule.converters.ops import VOCABULARY, TensorType, VocabularyOp
from millijoule.converters.ops.vocabulary import Attrs
from millijoule.errors import UnsupportedError
from millijoule.targets.graph.channels import channels_first
from millijoule.targets.graph.forms import FORMS, Expansion, Form
from millijoule.targets.graph.integers import integer_weights, taps
from millijoule.targets.passes.match import op_name

SPIKE = "uint8"  # dtype of spikes and of what is made of them


@dataclass
class Expanded:
    """``main`` in ordinary operators.

    ``layers``: Relax variable → torch module. ``shown``: names of the outputs that were added
    behind the model's own and in front of the new states.
    """

    module: tvm.IRModule
    layers: dict[str, str]
    shown: list[str] = field(default_factory=list)


def expand(
    module: tvm.IRModule,
    layers: Mapping[str, str],
    *,
    first_state: int,
    show: Collection[str] = (),
    target: str = "graph",
    forms: Mapping[str, Form] = FORMS,
) -> Expanded:
    """``main`` without vocabulary ops.

    Args:
        module: a converted model's; its ``main`` is in dataflow form.
        layers: Relax variable → torch module.
        first_state: index of the first parameter that is a state: spikes in states become float32,
            while the caller's own uint8 inputs stay what they are.
        show: vocabulary ops whose taps (``spikes:<layer>``) become outputs.
        target: whose name errors carry.
        forms: what vocabulary ops become.

    Raises UnsupportedError for an op that has no form, such as the integer ops of int8 programs.
    """
    return _Expander(module, layers, first_state, frozenset(show), target, forms).run()


class _Expander:
    def __init__(
        self,
        module: tvm.IRModule,
        layers: Mapping[str, str],
        first_state: int,
        show: frozenset[str],
        target: str,
        forms: Mapping[str, Form],
    ) -> None:
        self._module, self._layers, self._show = module, layers, show
        self._shown: dict[str, relax.Expr] = {}
        self._first_state, self._target, self._forms = first_state, target, forms
        self._builder = relax.BlockBuilder()
        self._known: dict[relax.Var, Any] = {}
        self._named: dict[str, str] = {}

    def run(self) -> Expanded:
        main = self._module["main"]
        params = [self._param(i, p) for i, p in enumerate(main.params)]
        with self._builder.function("main", params):
            with self._builder.dataflow():
                for block in main.body.blocks:
                    for binding in block.bindings:
                        self._known[binding.var] = self._bind(binding.var, binding.value)
                result = self._results(main)
                out = self._builder.emit_output(result)
            self._builder.emit_func_output(out)
        return Expanded(self._builder.finalize(), self._named, list(self._shown))

    def _param(self, index: int, param: relax.Var) -> relax.Var:
        t = tensor_type(param)
        state = index >= self._first_state and t.dtype == SPIKE
        new = relax.Var(param.name, relax_type(TensorType(t.shape, "float32") if state else t))
        self._known[param] = new
        return new

    def _results(self, main: relax.Function) -> relax.Tuple:
        """The results; what was uint8 and is no new state goes out as uint8 again."""
        body = self._known[main.body.body]
        fields = body.fields if isinstance(body, relax.Tuple) else [body]
        wanted = main.ret_ty.fields if isinstance(main.ret_ty, relax.TupleType) else [main.ret_ty]
        states = len(main.params) - self._first_state
        outputs = len(fields) - states
        own = [
            self._cast(f, str(t.dtype))
            for f, t in zip(fields[:outputs], wanted[:outputs], strict=True)
        ]
        return relax.Tuple([*own, *self._shown.values(), *fields[outputs:]])

    def _cast(self, value: relax.Expr, dtype: str) -> relax.Expr:
        if str(value.ty.dtype) == dtype:
            return value
        return self._builder.emit(relax.op.astype(value, dtype))

    def _bind(self, var: relax.Var, value: relax.Expr) -> Any:
        if isinstance(value, relax.Call):
            return self._call(var, value)
        return self._substitute(value)

    def _substitute(self, expr: Any) -> Any:
        """``expr`` over the new variables; tuples stay Python-side, so that they need no name."""
        if isinstance(expr, relax.Var):
            return self._known[expr]
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self._substitute(f) for f in expr.fields])
        if isinstance(expr, relax.TupleGetItem):
            source = self._substitute(expr.tuple_value)
            if isinstance(source, relax.Tuple):
                return source.fields[expr.index]
            return self._builder.emit(relax.TupleGetItem(source, expr.index))
        return expr

    def _call(self, var: relax.Var, call: relax.Call) -> Any:
        args = [self._substitute(a) for a in call.args]
        layer = self._layers.get(var.name, "")
        if op_name(call):
            return self._operator(call, args, layer)
        attrs = self._module[call.op].attrs
        op = str(attrs["Composite"]).removeprefix(COMPOSITE_PREFIX)
        layer = str(attrs[LAYER_KEY]) or layer
        values = json.loads(str(attrs[ATTRS_KEY]))
        form = self._forms.get(op)
        if form is None or (not op.startswith("binary_") and integer_weights(args)):
            raise UnsupportedError(
                f"[{self._target}] vocabulary op {op} of layer {layer!r} has no integer form there;"
                " build it as float32"
            )
        results = form(Expansion(self._builder, layer, self._emit), values, args)
        if op in self._show:
            self._add_shown(VOCABULARY[op], values, results, layer)
        return results[0] if len(results) == 1 else relax.Tuple(list(results))

    def _add_shown(
        self, op: VocabularyOp, attrs: Attrs, results: Sequence[relax.Expr], layer: str
    ) -> None:
        """Make the taps of one call outputs."""
        second = op.second_tap(attrs) if op.second_tap else None
        for tap, result in zip((op.tap, second), results, strict=False):
            if tap is not None:
                self._shown[f"{tap}:{layer}"] = result

    def _operator(self, call: relax.Call, args: Sequence[Any], layer: str) -> Any:
        """The same operator over the new operands, which may be float32 instead of spikes."""
        name = op_name(call)
        dtype = str(call.attrs.dtype) if name == "relax.astype" else ""
        if dtype == SPIKE:
            dtype = "float32"
        if name == "relax.astype":
            return self._cast(args[0], dtype)
        if name == "relax.full_like":  # a constant of the operand's shape
            shape, kind = tensor_type(args[0]).shape, str(call.ty.dtype)
            kind = "float32" if kind == SPIKE else kind
            return self._emit(relax.op.full(shape, args[1], kind), layer)

        def emit(expr: relax.Expr) -> relax.Var:
            return self._emit(expr, layer)

        moved = taps(call, name, args, emit)
        if moved is None:
            moved = channels_first(call, name, args, emit)
        if moved is None:
            moved = relax.Call(call.op, _unify(args, name), call.attrs)
        return self._emit(moved, layer)

    def _emit(self, expr: relax.Expr, layer: str) -> relax.Var:
        var = self._builder.emit(expr)
        if layer:
            self._named[str(var.name)] = layer
        return var


def _unify(args: Sequence[Any], name: str) -> list[Any]:
    """Constants that were spikes follow the operand that they are combined with."""
    if name in ("relax.take", "relax.gather_elements") or len(args) < 2:
        return list(args)
    return [_float(a) if isinstance(a, tvm.ir.Constant) and _is_spike(a) else a for a in args]


def _is_spike(constant: Any) -> bool:
    return str(constant.ty.dtype) == SPIKE


def _float(constant: Any) -> Any:
    return relax.const(constant.value.numpy().astype("float32"))
