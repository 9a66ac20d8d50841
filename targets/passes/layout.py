"""Channels-last convolutions, and transposes that sink through all that does not mind them.

Inside, images are [B, H, W, C] and sequences [B, N, C], whatever the model says: a vector of
channels is contiguous. Every value v of the model is *stored* as some w with v = permute(w, order).
A convolution on [B, C, H, W] stores its result channels-last; elementwise operators, reductions,
concatenations, slices and reshapes are applied to what is stored (`layout_rules`); anything else
gets v itself, for which the transpose is emitted then, and once.

Only transposes that move the channel axis between second and last place are deferred: those of an
attention's heads stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from millijoule.converters.importer import tensor_type
from millijoule.targets.passes.match import constant, op_name
from millijoule.targets.passes.rewrite_main import rewrite_main

Order = tuple[int, ...]
# What a rule returns: an expression to be stored, and the order in which it holds the value
Stored = tuple[relax.Expr, Order]
Rule = Callable[["SinkTransposes", relax.Call, relax.Var], Stored | None]


def inverse(order: Sequence[int]) -> Order:
    """The permutation that undoes ``order``."""
    return tuple(int(i) for i in np.argsort(order))


def is_identity(order: Sequence[int]) -> bool:
    """Whether nothing moves."""
    return list(order) == list(range(len(order)))


def shape_of(expr: relax.Expr) -> tuple[int, ...]:
    """Static shape of a tensor expression."""
    return tensor_type(expr).shape


@mutator
class SinkTransposes(PyExprMutator):
    """The rewriting; rules use `stored`, `in_order` and `emit`."""

    def __init__(self, mod: tvm.IRModule, rules: dict[str, Rule]) -> None:
        super().__init__(mod)
        self._rules = rules
        self._stored: dict[relax.Var, Stored] = {}
        self._bound: dict[relax.Var, relax.Expr] = {}
        self._permuted: dict[tuple[relax.Expr, Order], relax.Var] = {}

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        var, value = binding.var, binding.value
        self._bound[var] = value
        rule = self._rules.get(op_name(value) or type(value).__name__)
        result = rule(self, value, var) if rule and isinstance(var, relax.DataflowVar) else None
        if result is None:
            self._materialise(value)
            super().visit_var_binding_(binding)
            return
        expr, order = self._plain(*result, var)
        stored = expr if isinstance(expr, relax.Var) else self.emit(expr, var.name)
        self._stored[var] = stored, order
        if is_identity(order):
            self.set_var_remap(var, stored)

    def _plain(self, expr: relax.Expr, order: Order, var: relax.Var) -> Stored:
        """The value itself where only dimensions of one are in another place: a reshape is free.

        Images stay channels-last in any case, for that is where pooling is looked for.
        """
        sequence = isinstance(var.ty, relax.TensorType) and len(order) < 4
        if is_identity(order) or not sequence:
            return expr, order
        shape = shape_of(var)
        large = [place for place, extent in zip(order, shape, strict=True) if extent != 1]
        if large != sorted(large):
            return expr, order
        stored = expr if isinstance(expr, relax.Var) else self.emit(expr, var.name)
        return relax.op.reshape(stored, shape), tuple(range(len(shape)))

    def emit(self, expr: relax.Expr, name: str) -> relax.Var:
        """Bind ``expr``; names of variables say which layer they belong to."""
        return self.builder_.emit(expr, name)

    def bound(self, expr: relax.Expr) -> relax.Expr:
        """What a variable of the original function is bound to; other expressions as they are."""
        return self._bound.get(expr, expr) if isinstance(expr, relax.Var) else expr

    def constant(self, expr: relax.Expr) -> np.ndarray | None:
        """Value of a constant of the original function, else None."""
        return constant(expr, self._bound.get)

    def deferred(self, expr: relax.Expr) -> bool:
        """Whether ``expr`` is stored in another order than its own."""
        return not is_identity(self._stored.get(expr, (expr, ()))[1])

    def stored(self, expr: relax.Expr) -> Stored:
        """What is stored of a value of the original function, and in which order."""
        if expr in self._stored:
            return self._stored[expr]
        return self.visit_expr(expr), tuple(range(len(shape_of(expr))))

    def in_order(self, expr: relax.Expr, order: Order) -> relax.Expr:
        """``e`` such that ``expr`` = permute(e, order)."""
        value = self.constant(expr)
        if value is not None:
            return relax.const(np.ascontiguousarray(value.transpose(inverse(order))))
        source, held = self.stored(expr)
        return self._permute(source, tuple(held[i] for i in inverse(order)))

    def _permute(self, source: relax.Expr, axes: Order) -> relax.Expr:
        if is_identity(axes):
            return source
        key = source, axes
        if key not in self._permuted:
            shape = shape_of(source)
            large = [a for a in axes if shape[a] != 1]
            moved = (
                relax.op.reshape(source, [shape[a] for a in axes])  # only ones move
                if large == sorted(large)
                else relax.op.permute_dims(source, list(axes))
            )
            self._permuted[key] = self.emit(moved, "layout")
        return self._permuted[key]

    def _materialise(self, value: relax.Expr) -> None:
        """Emit the transposes of deferred values that ``value`` reads."""

        def visit(expr: Any) -> None:
            if isinstance(expr, relax.Var) and self.deferred(expr):
                source, order = self._stored[expr]
                if not isinstance(expr.ty, relax.TupleType):
                    self.set_var_remap(expr, self._permute(source, order))
                    return
                fields = [
                    self._permute(self.emit(relax.TupleGetItem(source, i), "layout"), order)
                    for i in range(len(expr.ty.fields))
                ]
                self.set_var_remap(expr, self.emit(relax.Tuple(fields), "layout"))

        relax.analysis.post_order_visit(value, visit)


def channels_last() -> tvm.transform.Pass:
    """The pass over function ``main``."""
    from millijoule.targets.passes.layout_rules import RULES

    return rewrite_main("ChannelsLast", lambda mod: SinkTransposes(mod, RULES))
