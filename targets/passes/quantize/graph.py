"""Reading a Relax function: its bindings, its outputs, dense layers and windows of a stream."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

from millijoule.converters.importer import ATTRS_KEY, COMPOSITE_PREFIX, LAYER_KEY
from millijoule.targets.passes.match import op_name


@dataclass(frozen=True)
class Root:
    """A product of a real tensor with constant weights that can run on int8.

    ``w``: [K, O] of a matrix product, [O, C, taps] of a convolution; ``axis``: that of the outputs.
    """

    var: relax.Var
    x: relax.Expr
    w: np.ndarray
    axis: int


@dataclass(frozen=True)
class Composite:
    """A call of a vocabulary op."""

    op: str
    attrs: str  # JSON
    layer: str


class Graph:
    """Function ``main`` of a module in dataflow form."""

    def __init__(self, module: tvm.IRModule) -> None:
        self.module, self.main = module, module["main"]
        self.bindings = [
            (b.var, b.value) for block in self.main.body.blocks for b in block.bindings
        ]
        self.bound = dict(self.bindings)
        self.users: dict[relax.Var, list[relax.Var]] = defaultdict(list)
        self.operands = {var: _used(value) for var, value in self.bindings}
        for var, operands in self.operands.items():
            for used in operands:
                self.users[used].append(var)
        self.returned, self.outputs = self._outputs()
        self.roots = {r.var: r for v, e in self.bindings if (r := self._root(v, e)) is not None}

    def _outputs(self) -> tuple[relax.Var | None, list[relax.Expr]]:
        """The variable that is returned (None for a bare tuple) and the fields of its tuple."""
        body = self.main.body.body
        returned = body if isinstance(body, relax.Var) else None
        while isinstance(body, relax.Var) and isinstance(
            self.bound.get(body), relax.Var | relax.Tuple
        ):
            body = self.bound[body]
        if not isinstance(body, relax.Tuple):
            raise ValueError("main must return a tuple")
        return returned, list(body.fields)

    def constant(self, expr: relax.Expr) -> np.ndarray | None:
        """Value of a constant, also behind a transpose; None of anything else."""
        if isinstance(expr, relax.Var) and expr in self.bound:
            expr = self.bound[expr]
        if isinstance(expr, tvm.ir.Constant):
            return expr.value.numpy()
        if op_name(expr) == "relax.permute_dims":
            value = self.constant(expr.args[0])
            axes = expr.attrs.axes
            chosen = None if axes is None else [int(a) for a in axes]
            return None if value is None else value.transpose(chosen)
        return None

    def composite(self, call: relax.Expr) -> Composite | None:
        """The vocabulary op that ``call`` calls, if any."""
        if not isinstance(call, relax.Call) or not isinstance(call.op, tvm.ir.GlobalVar):
            return None
        attrs = self.module[call.op].attrs
        if not attrs or "Composite" not in attrs:
            return None
        name = str(attrs["Composite"]).removeprefix(COMPOSITE_PREFIX)
        return Composite(name, str(attrs[ATTRS_KEY]), str(attrs[LAYER_KEY]))

    def _root(self, var: relax.Var, call: relax.Expr) -> Root | None:
        """What `targets.passes.dense` lowers, and nothing else: the rest stays float."""
        name = op_name(call)
        if name not in ("relax.matmul", "relax.nn.conv1d"):
            return None
        w, x = self.constant(call.args[1]), call.args[0]
        if w is None or w.dtype != np.float32 or str(x.ty.dtype) != "float32":
            return None
        if name == "relax.matmul":
            return Root(var, x, w, 1) if w.ndim == 2 and len(x.ty.shape) >= 2 else None
        attrs = call.attrs
        plain = all(int(v) == 1 for v in [*attrs.strides, *attrs.dilation, attrs.groups])
        padding = [int(p) for p in attrs.padding]
        same = str(attrs.data_layout) == "NWC" and padding[0] == padding[-1]
        return Root(var, x, w, 0) if plain and same else None

    def windows(self, n_states: int) -> dict[relax.Var, tuple[int, relax.Var]]:
        """Windows of a stream that only a dense convolution reads: concat → (state, root).

        Such a window is ``concat(state[:, 1:], x)``, and is the state's new value.
        """
        params = list(self.main.params)
        first, n_outputs = len(params) - n_states, len(self.outputs) - n_states
        found = {}
        for root in self.roots.values():
            source = self._past_of(root.x)
            index = next((i for i, p in enumerate(params) if p.same_as(source)), -1) - first
            if index < 0 or not root.x.same_as(self.outputs[n_outputs + index]):
                continue
            readers = [self.bound[u] for u in self.users[root.x] if not u.same_as(root.var)]
            if all(isinstance(reader, relax.Tuple) for reader in readers):
                found[root.x] = index, root.var
        return found

    def _past_of(self, expr: relax.Expr) -> relax.Expr | None:
        """What ``concat(slice(past), x)`` slices, if nothing else reads it."""
        window = self._value(expr)
        if op_name(window) != "relax.concat" or not isinstance(window.args[0], relax.Tuple):
            return None
        kept = window.args[0].fields[0]
        piece = self._value(kept)
        if len(window.args[0].fields) != 2 or op_name(piece) != "relax.strided_slice":
            return None
        alone = len(self.users[kept]) == 1 and len(self.users[piece.args[0]]) == 1
        return piece.args[0] if alone else None

    def _value(self, expr: relax.Expr) -> Any:
        """What a variable is bound to."""
        return self.bound.get(expr) if isinstance(expr, relax.Var) else expr

    def with_outputs(self, extra: list[relax.Expr], n_states: int) -> tvm.IRModule:
        """The module with ``extra`` tensors returned between its outputs and its new states."""
        first = len(self.outputs) - n_states
        everything = relax.Tuple([*self.outputs[:first], *extra, *self.outputs[first:]])
        types = [field.ty for field in everything.fields]
        result = relax.Var("results", relax.TupleType(types))
        blocks = list(self.main.body.blocks)
        last = [b for b in blocks[-1].bindings if not b.var.same_as(self.returned)]
        blocks[-1] = type(blocks[-1])([*last, relax.VarBinding(result, everything)])
        body = relax.SeqExpr(blocks, result)
        main = relax.Function(
            self.main.params, body, result.ty, is_pure=True, attrs=self.main.attrs
        )
        module = tvm.IRModule(dict(self.module.functions), attrs=self.module.attrs)
        module.update_func(module.get_global_var("main"), main)
        return module


def _used(value: relax.Expr) -> list[relax.Var]:
    used: list[relax.Var] = []
    relax.analysis.post_order_visit(
        value, lambda e: used.append(e) if isinstance(e, relax.Var) else None
    )
    return used
