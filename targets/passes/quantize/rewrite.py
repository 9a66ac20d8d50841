"""Function ``main`` on floats → the same on integers, where integers carry the meaning.

Bindings are visited in order. Each variable of the float program gets a `Value`: as it was, or
integers with a scale and a bias. Rules (`rules`, `layers`) say what an operator makes of integers;
where none applies, its operands become float again and the operator stays as it was.

A state of a stream has one meaning, before and after a step, and it is the one that the step
writes. It is found by rewriting with a guess, looking at what was written, and guessing that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tvm
from tvm import relax

from millijoule.converters.importer import relax_type, tensor_type
from millijoule.converters.ops import TensorType
from millijoule.errors import UnsupportedError
from millijoule.targets.passes.match import op_name
from millijoule.targets.passes.quantize.emit import Emitter
from millijoule.targets.passes.quantize.graph import Graph
from millijoule.targets.passes.quantize.layers import LAYER_RULES, dense
from millijoule.targets.passes.quantize.numbers import (
    FRACTION_BITS,
    INT32_LIMIT,
    WEIGHT_LIMIT,
    Weights,
    fixed,
    fraction_for,
)
from millijoule.targets.passes.quantize.rules import RULES
from millijoule.targets.passes.quantize.values import (
    Affine,
    Plain,
    Value,
    affine,
    channels,
    fixed_point,
)

# operators that make a layer; if they stay float, the record says so
_PRODUCTS = frozenset({"relax.matmul", *(f"relax.nn.conv{n}d" for n in (1, 2, 3))})

# Float operators after which a value has the same bits everywhere: one operation per element, or
# none. Additions are missing: with a product before them, some targets round once, others twice.
EXACT = {
    "relax.astype",
    "relax.broadcast_to",
    "relax.concat",
    "relax.divide",
    "relax.expand_dims",
    "relax.maximum",
    "relax.minimum",
    "relax.multiply",
    "relax.nn.relu",
    "relax.permute_dims",
    "relax.reshape",
    "relax.squeeze",
    "relax.strided_slice",
}


@dataclass(frozen=True)
class LayerNote:
    """What became of one layer: for the manifest and the report."""

    layer: str
    op: str
    sqnr_db: float
    input_scale: float | None = None


@dataclass
class Notes:
    """What a rewrite did.

    ``fractions``: neurons that have fewer than 16 fraction bits. ``kept``: layers that stay float.
    ``rounds_sums``: whether real sums are rounded to int8, which another target, that sums in
    another order or fuses products with sums, may round otherwise.
    """

    layers: list[LayerNote] = field(default_factory=list)
    fractions: dict[str, int] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    rounds_sums: bool = False


@dataclass(frozen=True)
class StateMeaning:
    """What the tensor of a state holds; ``scale`` None: what it held in the float program."""

    dtype: str
    bound: int
    scale: tuple[float, ...] | None = None

    def value(self, param: relax.Var) -> Value:
        """The state as a value."""
        if self.scale is None:
            return Plain(param, self.bound)
        return affine(param, np.array(self.scale), 0.0, self.bound)


@dataclass
class Rewritten:
    """The integer program: ``states`` are the types of its states, ``layers`` names its layers."""

    module: tvm.IRModule
    states: tuple[TensorType, ...]
    meanings: tuple[StateMeaning, ...]
    layers: dict[str, str]
    notes: Notes


class Rewriter:
    """One visit of all bindings under one guess of the states' meanings."""

    def __init__(
        self,
        graph: Graph,
        scales: Mapping[relax.Var, float],
        layers: Mapping[str, str],
        meanings: tuple[StateMeaning, ...],
    ) -> None:
        self.graph, self.scales, self._layers = graph, scales, layers
        self._meanings = meanings
        self._windows = graph.windows(len(meanings))
        functions = {gv: f for gv, f in graph.module.functions.items() if gv.name_hint != "main"}
        self.emitter = Emitter(relax.BlockBuilder(tvm.IRModule(functions)))
        self._values: dict[relax.Var, Value | list[Value]] = {}
        self.notes = Notes()
        self._inexact: set[relax.Var] = set()
        self.new_layers: dict[str, str] = {}

    def run(self) -> tuple[Rewritten, tuple[StateMeaning, ...]]:
        """The program under this guess, and the meanings of the states that it writes."""
        builder = self.emitter.builder
        params = [self._param(i, p) for i, p in enumerate(self.graph.main.params)]
        with builder.function("main", params):
            with builder.dataflow():
                for var, value in self.graph.bindings:
                    if isinstance(value, relax.Tuple):
                        self._values[var] = [self.value(f) for f in value.fields]
                    else:
                        self._values[var] = self._visit(var, value)
                    if any(v in self._inexact for v in self.graph.operands[var]):
                        self._inexact.add(var)
                fields, written = self._results()
                result = builder.emit_output(relax.Tuple(fields))
            builder.emit_func_output(result)
        n_states = len(self._meanings)
        types = tuple(tensor_type(p) for p in params[len(params) - n_states :]) if n_states else ()
        rewritten = Rewritten(builder.get(), types, self._meanings, self.new_layers, self.notes)
        return rewritten, written

    # what rules use

    def value(self, expr: relax.Expr) -> Value:
        """Value of an operand of the float program."""
        if isinstance(expr, relax.Var):
            value = self._values[expr]
            assert not isinstance(value, list)
            return value
        return Plain(expr)

    def plain(self, expr: relax.Expr) -> relax.Expr:
        """An operand as the float program has it; anything but a tensor stays what it is."""
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self.plain(f) for f in expr.fields])
        if not isinstance(expr, relax.Var):
            return expr
        value = self._values[expr]
        if isinstance(value, list):
            return relax.Tuple([self.emitter.plain(v) for v in value])
        return self.emitter.plain(value)

    def repeated(self, call: relax.Call, first: relax.Expr) -> relax.Var:
        """``call`` again on another first operand."""
        copy = relax.Call(call.op, [first, *call.args[1:]], call.attrs, call.ty_args)
        return self.emitter.emit(copy)

    def fields(self, result: relax.Var, count: int) -> list[relax.Var]:
        """The fields of a tuple."""
        return [self.emitter.emit(relax.TupleGetItem(result, i)) for i in range(count)]

    def to_fixed(self, value: Affine, layer: str) -> Affine:
        """``value`` as fixed point of as many bits as its range leaves."""
        fraction = fraction_for(float(value.real_bound.max()))
        if fraction < 0:
            raise UnsupportedError(
                f"[quantize] values of {layer!r} reach {value.real_bound.max():.3g}, which 32 bits "
                "of fixed point cannot hold; build it with dtype float32"
            )
        return self.emitter.to_fixed(value, fraction)

    def fixed_state(self, expr: relax.Expr, fraction: int) -> relax.Expr | None:
        """A state of potentials: int32 parameter, or a constant converted."""
        constant = self.graph.constant(expr)
        if constant is not None:
            whole = fixed(constant, fraction)
            return (
                relax.const(whole.astype(np.int32)) if np.abs(whole).max() <= INT32_LIMIT else None
            )
        return self.owned_state(expr)

    def owned_state(self, expr: relax.Expr) -> relax.Expr | None:
        """The int32 parameter of a state that one integer op alone reads and writes."""
        value = self.value(expr)
        return value.expr if isinstance(value, Affine) and value.dtype == "int32" else None

    def int8(self, expr: relax.Expr, scale: float, layer: str) -> Affine:
        """The input of dense ``layer`` as int8 with one scale."""
        value = self.value(expr)
        if isinstance(value, Affine) and value.uniform:
            if value.dtype == "int8":
                return value
            if value.dtype == "uint8" and value.bound <= WEIGHT_LIMIT:
                return replace(value, expr=self.emitter.cast(value, "int8"))
        self.notes.rounds_sums |= expr in self._inexact or self._is_sum(expr)
        source = self.emitter.plain(value)
        result = self.emitter.op("quantize", {"scale": scale}, [source], layer)
        return affine(result, scale, 0.0, WEIGHT_LIMIT)

    def note(self, layer: str, op: str, weights: Weights, scale: float | None = None) -> None:
        """Record a quantized layer."""
        self.notes.layers.append(LayerNote(layer, op, weights.sqnr_db, scale))

    def named(self, var: relax.Var, layer: str) -> None:
        """Variable ``var`` of the new program holds the result of ``layer``."""
        if layer:
            self.new_layers[var.name] = layer

    # one visit

    def _param(self, index: int, param: relax.Var) -> relax.Var:
        first = len(self.graph.main.params) - len(self._meanings)
        if index < first:
            self._values[param] = Plain(param)
            return param
        meaning = self._meanings[index - first]
        shape = tensor_type(param).shape
        new = relax.Var(param.name, relax_type(TensorType(shape, meaning.dtype)))
        self._values[param] = meaning.value(new)
        return new

    def _visit(self, var: relax.Var, value: relax.Expr) -> Value | list[Value]:
        if isinstance(value, relax.TupleGetItem):
            source = self._values[value.tuple_value]
            assert isinstance(source, list)
            return source[value.index]
        if not isinstance(value, relax.Call):
            return self.value(value)
        root = self.graph.roots.get(var)
        if root is not None:
            return dense(self, root, value, self._layer_of(var))
        if var in self._windows:
            return self._window(var, value)
        about = self.graph.composite(value)
        if about is not None:
            rule = LAYER_RULES.get(about.op)
            results = rule(self, value, about) if rule else None
            if results is not None:
                return results[0] if len(results) == 1 else results
        elif op_name(value) in RULES:
            result = RULES[op_name(value)](self, value)
            if result is not None:
                return result
        return self._unchanged(var, value, about.layer if about else "")

    def _unchanged(self, var: relax.Var, call: relax.Call, layer: str) -> Value | list[Value]:
        """The call on floats."""
        if op_name(call) not in EXACT or any(map(self._is_sum, self.graph.operands[var])):
            self._inexact.add(var)
        copy = relax.Call(call.op, [self.plain(a) for a in call.args], call.attrs, call.ty_args)
        result = self.emitter.emit(copy, var.name)
        self.named(result, self._layers.get(var.name, ""))
        if op_name(call) in _PRODUCTS:
            layer = layer or self._layer_of(var)
        if layer:
            self.notes.kept.append(layer)
        if isinstance(result.ty, relax.TupleType):
            return [Plain(f) for f in self.fields(result, len(result.ty.fields))]
        return Plain(result)

    def _is_sum(self, expr: relax.Expr) -> bool:
        """Whether converting to float adds a bias."""
        value = self._values.get(expr) if isinstance(expr, relax.Var) else None
        return isinstance(value, Affine) and bool(value.bias.any())

    def _layer_of(self, root: relax.Var) -> str:
        """A layer's name is on its product, or on the bias addition behind it."""
        name = self._layers.get(root.name, "")
        users = self.graph.users[root]
        if not name and len(users) == 1 and op_name(self.graph.bound[users[0]]) == "relax.add":
            name = self._layers.get(users[0].name, "")
        return name

    def _window(self, var: relax.Var, call: relax.Call) -> Value:
        """The last steps of a dense convolution's input, kept as int8."""
        past, x = call.args[0].fields
        old = self.value(past)
        assert isinstance(old, Affine)
        new = self.int8(x, old.scale.item(), self._layer_of(self._windows[var][1]))
        pair = relax.Tuple([old.expr, new.expr])
        expr = self.emitter.emit(relax.op.concat(pair, int(call.attrs.axis)))
        return affine(expr, old.scale.item(), 0.0, WEIGHT_LIMIT)

    def _results(self) -> tuple[list[relax.Expr], tuple[StateMeaning, ...]]:
        """Outputs as float, new states as they are guessed to be, and what they really are."""
        n_states = len(self._meanings)
        first = len(self.graph.outputs) - n_states
        fields = [self.plain(e) for e in self.graph.outputs[:first]]
        written = []
        for expr, guess in zip(self.graph.outputs[first:], self._meanings, strict=True):
            value = self.value(expr)
            if guess.scale is None and guess.dtype == "float32":
                value = Plain(self.emitter.plain(value))
            elif isinstance(value, Affine) and not _storable(value):
                value = self.to_fixed(value, "a state")
            fields.append(value.expr)
            written.append(_meaning(value))
        return fields, tuple(written)


def _storable(value: Affine) -> bool:
    """Zero, where every state begins, must stand for zero; scales may differ by channel."""
    return not value.bias.any() and channels(value.scale, value.shape[-1]) is not None


def _meaning(value: Value) -> StateMeaning:
    dtype = tensor_type(value.expr).dtype
    if isinstance(value, Plain):
        return StateMeaning(dtype, value.bound)
    return StateMeaning(dtype, value.bound, tuple(value.scale.reshape(-1).tolist()))


def first_guess(graph: Graph, n_states: int, scales: Mapping[relax.Var, float]) -> tuple[Any, ...]:
    """Meanings to begin with: windows are int8, other real states fixed point."""
    windows = dict(graph.windows(n_states).values())
    params = list(graph.main.params)
    guesses = []
    for index, param in enumerate(params[len(params) - n_states :] if n_states else []):
        dtype = tensor_type(param).dtype
        if index in windows:
            guess = StateMeaning("int8", WEIGHT_LIMIT, (scales[windows[index]],))
        elif dtype == "float32":
            scale = fixed_point(param, FRACTION_BITS, 0).scale.item()
            guess = StateMeaning("int32", 0, (scale,))
        else:
            guess = StateMeaning(dtype, 1 if dtype == "uint8" else 255)
        guesses.append(guess)
    return tuple(guesses)
