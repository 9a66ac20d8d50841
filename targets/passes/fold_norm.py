"""Batch norms disappear into the convolutions around them.

With constant statistics a batch norm is y = s·x + t per channel, s = γ/√(σ² + ε), t = β − s·μ.
Behind a convolution, s scales its filters: bn(W∗x + b) = (s·W)∗x + (s·b + t). In front of a 1×1
convolution without padding, it scales the filters' inputs: W∗(s·x + t) + b = (W·s)∗x + (W·t + b);
zeros of a padded border would need −t/s instead. Anywhere else it becomes a product and a sum,
which later passes fuse. Factors are computed in float64 and rounded once.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from millijoule.targets.passes.chain import count_uses
from millijoule.targets.passes.match import constant, op_name
from millijoule.targets.passes.rewrite_main import rewrite_main

_CONVOLUTIONS = {"relax.nn.conv1d": relax.op.nn.conv1d, "relax.nn.conv2d": relax.op.nn.conv2d}
_NORM = "relax.nn.batch_norm"


def fold_norm() -> tvm.transform.Pass:
    """The pass over function ``main``, in front of `layout`."""
    return rewrite_main("FoldNorm", lambda mod: _Folding(mod, mod["main"]))


class _Graph:
    """What variables are bound to, and how often each is read."""

    def __init__(self, main: relax.Function) -> None:
        self.bound = {b.var: b.value for block in main.body.blocks for b in block.bindings}
        self.uses: Counter[relax.Var] = count_uses(main)
        items = [v for v in self.bound.values() if isinstance(v, relax.TupleGetItem)]
        # tuples of which more than the first field is read: norms whose statistics are wanted
        self.statistics = {item.tuple_value for item in items if item.index != 0}

    def value(self, expr: relax.Expr) -> relax.Expr:
        """What a variable is bound to; other expressions as they are."""
        return self.bound.get(expr, expr) if isinstance(expr, relax.Var) else expr

    def constant(self, expr: relax.Expr) -> np.ndarray | None:
        """Value of a constant, else None."""
        return constant(expr, self.bound.get)

    def scale_shift(self, call: relax.Expr) -> tuple[np.ndarray, np.ndarray] | None:
        """(s, t) of a batch norm along the channels with constant statistics."""
        if op_name(call) != _NORM or int(call.attrs.axis) != 1 or bool(call.attrs.training):
            return None
        values = [self.constant(a) for a in call.args[1:]]
        if any(v is None or v.dtype != np.float32 for v in values):
            return None
        gamma, beta, mean, variance = (np.asarray(v, np.float64) for v in values)
        scale = 1 / np.sqrt(variance + call.attrs.epsilon)
        scale = scale * gamma if call.attrs.scale else scale
        shift = beta if call.attrs.center else np.zeros_like(mean)
        return scale, shift - scale * mean

    def filters(self, call: relax.Expr) -> np.ndarray | None:
        """Constant float32 filters [O, I/groups, …] of a convolution on [B, C, …]."""
        if op_name(call) not in _CONVOLUTIONS or not str(call.attrs.data_layout).startswith("NC"):
            return None
        w = self.constant(call.args[1])
        return w if w is not None and w.dtype == np.float32 else None

    def behind(self, norm: relax.Call) -> tuple[relax.Var, relax.Var | None, np.ndarray] | None:
        """(convolution, its bias addition, bias [O]) that only ``norm`` reads."""
        last, bias, added = norm.args[0], np.zeros(1), None
        if self.uses[last] != 1:
            return None
        if op_name(self.value(last)) == "relax.add":
            addition = self.value(last)
            constants = [self.constant(a) for a in addition.args]
            sides = [i for i, c in enumerate(constants) if c is None]
            channels = int(last.ty.shape[1])
            other = constants[1 - sides[0]] if len(sides) == 1 else None
            rank = len(last.ty.shape)
            if other is None or (1, channels, *[1] * (rank - 2))[-other.ndim :] != other.shape:
                return None
            added, bias, last = last, other.astype(np.float64).ravel(), addition.args[sides[0]]
            if not isinstance(last, relax.Var) or self.uses[last] != 1:
                return None
        return (last, added, bias) if self.filters(self.value(last)) is not None else None

    def ahead(self, call: relax.Expr) -> relax.Call | None:
        """The batch norm that a 1×1 convolution reads, unless it goes into one behind it."""
        w = self.filters(call)
        if w is None or w.shape[2:] != (1,) * (w.ndim - 2):
            return None
        if int(call.attrs.groups) != 1 or any(int(p) for p in call.attrs.padding):
            return None
        item = self.value(call.args[0])
        if not isinstance(item, relax.TupleGetItem) or item.index != 0:
            return None
        norm = self.value(item.tuple_value)
        if item.tuple_value in self.statistics or self.scale_shift(norm) is None:
            return None
        if self.behind(norm) is not None:
            return None
        return norm


@mutator
class _Folding(PyExprMutator):
    def __init__(self, mod: tvm.IRModule, main: relax.Function) -> None:
        super().__init__(mod)
        self._graph = graph = _Graph(main)
        self._norms = {
            v: b
            for v, b in graph.bound.items()
            if graph.scale_shift(b) is not None and v not in graph.statistics
        }
        self._gone: set[relax.Var] = set()  # convolutions and biases that batch norms take over
        for norm in self._norms.values():
            found = graph.behind(norm)
            self._gone |= {v for v in found[:2] if v is not None} if found else set()

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        var, value = binding.var, binding.value
        if var in self._gone or var in self._norms:
            return
        if isinstance(value, relax.TupleGetItem) and value.tuple_value in self._norms:
            self.set_var_remap(var, self._normalised(self._norms[value.tuple_value]))
            return
        norm = self._graph.ahead(value)
        if norm is None:
            super().visit_var_binding_(binding)
            return
        scale, shift = self._graph.scale_shift(norm)  # type: ignore[misc]
        w = self._graph.filters(value).astype(np.float64)  # type: ignore[union-attr]
        columns = (slice(None), *[None] * (w.ndim - 2))
        conv = self._convolve(var, norm.args[0], w * scale[columns])
        bias = np.tensordot(w, shift, ([1], [0])).reshape(-1)
        self.set_var_remap(var, self._add(conv, bias))

    def _normalised(self, norm: relax.Call) -> relax.Var:
        scale, shift = self._graph.scale_shift(norm)  # type: ignore[misc]
        found = self._graph.behind(norm)
        if found is None:
            x = self.visit_expr(norm.args[0])
            factor = relax.const(_per_channel(scale, len(x.ty.shape)))
            return self._add(self.builder_.emit(relax.op.multiply(x, factor), "norm"), shift)
        conv, added, bias = found
        name = added.name if added is not None else "shift"  # it may be what a layer is called
        call = self._graph.value(conv)
        w = self._graph.filters(call).astype(np.float64)  # type: ignore[union-attr]
        rows = (slice(None), *[None] * (w.ndim - 1))
        folded = self._convolve(conv, call.args[0], w * scale[rows])
        return self._add(folded, bias * scale + shift, name)

    def _convolve(self, var: relax.Var, x: relax.Expr, w: np.ndarray) -> relax.Var:
        """The convolution bound to ``var`` with other filters, under the name of its layer."""
        call = self._graph.value(var)
        a = call.attrs
        conv = _CONVOLUTIONS[op_name(call)](
            self.visit_expr(x),
            relax.const(w.astype(np.float32)),
            strides=a.strides,
            padding=a.padding,
            dilation=a.dilation,
            groups=a.groups,
            data_layout=a.data_layout,
            kernel_layout=a.kernel_layout,
            out_layout=a.out_layout,
            out_dtype=a.out_dtype,
        )
        return self.builder_.emit(conv, var.name)

    def _add(self, x: relax.Var, shift: np.ndarray, name: str = "shift") -> relax.Var:
        value = _per_channel(shift, len(x.ty.shape))
        return self.builder_.emit(relax.op.add(x, relax.const(value)), name)


def _per_channel(values: np.ndarray, rank: int) -> np.ndarray:
    """[C] → float32 [1, C, 1, …]."""
    return values.astype(np.float32).reshape(1, -1, *[1] * (rank - 2))
