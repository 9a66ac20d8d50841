"""The visitor: function ``main`` of a Relax module, binding by binding, into an emitter's table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

from millijoule.converters.importer import (
    ATTRS_KEY,
    COMPOSITE_PREFIX,
    LAYER_KEY,
    from_relax_type,
)
from millijoule.converters.ops import TensorType
from millijoule.errors import UnsupportedError
from millijoule.targets.graph.node import Arg, Emitter, Node, Scan, Table, Value, Written
from millijoule.targets.passes.match import op_name

SCAN_KEY = "mj.scan"  # attribute of a composite that `expand` gave a step function
STEP_KEY = "mj.step"  # attribute of that function

# moves of constants that are done here, so that emitters see plain weights
_FOLDED = {
    "relax.permute_dims": lambda x, n: x.transpose(n.attrs["axes"] or None),
    "relax.reshape": lambda x, n: x.reshape(n.type.shape),
    "relax.expand_dims": lambda x, n: x.reshape(n.type.shape),
    "relax.squeeze": lambda x, n: x.reshape(n.type.shape),
    "relax.astype": lambda x, n: x.astype(n.type.dtype),
    "relax.broadcast_to": lambda x, n: np.broadcast_to(x, n.type.shape),
}


class Graph:
    """A Relax function as a list of `Node`, whose variables are still Relax ones."""

    def __init__(
        self, module: tvm.IRModule, function: relax.Function, layers: Mapping[str, str]
    ) -> None:
        self._module, self.function, self._layers = module, function, layers

    @staticmethod
    def functions(module: tvm.IRModule) -> list[relax.Function]:
        """``main`` and the steps of its loops."""
        steps = [
            f
            for _, f in sorted(module.functions.items(), key=lambda item: item[0].name_hint)
            if isinstance(f, relax.Function) and f.attrs and STEP_KEY in f.attrs
        ]
        return [module["main"], *steps]

    @property
    def bindings(self) -> list[Any]:
        """Bindings in order."""
        return [b for block in self.function.body.blocks for b in block.bindings]

    def calls(self) -> Iterator[Node]:
        """The operator calls, operands left out."""
        for binding in self.bindings:
            if isinstance(binding.value, relax.Call):
                yield self.node(binding.var, binding.value, ())

    def node(self, var: relax.Var, call: relax.Call, args: Sequence[Arg]) -> Node:
        """``var = call`` as a node over ``args``."""
        results = _types(var.ty)
        layer, name = self._layers.get(var.name, ""), str(var.name)
        if op_name(call):
            return Node(op_name(call), tuple(args), _attributes(call), results, layer, name)
        if not isinstance(call.op, tvm.ir.GlobalVar):
            raise UnsupportedError(f"[graph] cannot write a call of {call.op} as an operator")
        attrs = self._module[call.op].attrs
        op = COMPOSITE_PREFIX + str(attrs["Composite"]).removeprefix(COMPOSITE_PREFIX)
        scan = _scan(self._module, attrs)
        values = json.loads(str(attrs[ATTRS_KEY]))
        return Node(op, tuple(args), values, results, str(attrs[LAYER_KEY]) or layer, name, scan)


def walk(
    module: tvm.IRModule,
    function: relax.Function,
    layers: Mapping[str, str],
    params: Sequence[Arg],
    emitter: Emitter,
    table: Table,
    record: list[Written] | None = None,
) -> list[Arg]:
    """Emit ``function``, whose parameters are ``params``; its results in order.

    ``record`` takes what was written for every call.
    """
    graph = Graph(module, function, layers)
    known: dict[relax.Var, Arg] = dict(zip(function.params, params, strict=True))
    for binding in graph.bindings:
        value = binding.value
        if isinstance(value, relax.Call):
            args = [_argument(a, known) for a in value.args]
            node = graph.node(binding.var, value, args)
            emitter.layer, before = _label(node, record), emitter.written
            known[binding.var] = _emit(node, module, layers, emitter, table)
            if record is not None:
                record.append(Written(node, emitter.written - before))
        elif isinstance(value, relax.TupleGetItem):
            source = known[value.tuple_value]
            assert isinstance(source, tuple)
            known[binding.var] = source[value.index]
        else:
            known[binding.var] = _argument(value, known)
    result = _argument(function.body.body, known)
    return list(result) if isinstance(result, tuple) else [result]


def _label(node: Node, record: list[Written] | None) -> str:
    """Where operators of the format come from: number of the kernel in the manifest, and layer."""
    return node.layer if record is None else f"k{len(record)}:{node.layer}"


def _emit(
    node: Node, module: tvm.IRModule, layers: Mapping[str, str], emitter: Emitter, table: Table
) -> Arg:
    fold = _FOLDED.get(node.op)
    if fold is not None and node.args and _is_plain(node.args[0], node):
        return np.ascontiguousarray(fold(node.args[0], node))
    if node.scan is None:
        return table[node.op](emitter, node)
    step = node.scan.step

    def walk_step(body: Emitter, args: Sequence[Arg]) -> list[Arg]:
        return walk(module, step, layers, args, body, table)

    return emitter.scan(node, walk_step)


def _is_plain(arg: Arg, node: Node) -> bool:
    """Whether ``arg`` is a constant to move here; narrow weights are widened by the format."""
    if not isinstance(arg, np.ndarray):
        return False
    return not (node.op == "relax.astype" and arg.dtype == np.int8 and arg.size > 1)


def _argument(expr: Any, known: Mapping[relax.Var, Arg]) -> Arg:
    """An operand as a `Value`, array, number or tuple of those."""
    if isinstance(expr, relax.Var):
        return known[expr]
    if isinstance(expr, relax.Tuple):
        return tuple(_argument(f, known) for f in expr.fields)
    if isinstance(expr, relax.ShapeExpr):
        return tuple(int(d) for d in expr.values)
    if isinstance(expr, tvm.tirx.IntImm):
        return int(expr)
    if isinstance(expr, tvm.tirx.FloatImm):
        return float(expr)
    if isinstance(expr, tvm.ir.Constant):
        return expr.value.numpy()
    raise UnsupportedError(f"[graph] cannot write an operand of type {type(expr).__name__}")


def _types(ty: Any) -> tuple[TensorType, ...]:
    """Types of one result or of a tuple of them."""
    if isinstance(ty, relax.TupleType):
        return tuple(t for f in ty.fields for t in _types(f))
    return (from_relax_type(ty),)


def _attributes(call: relax.Call) -> dict[str, Any]:
    """Attributes of an operator as Python values."""
    if call.attrs is None:
        return {}
    fields = type(call.attrs).__tvm_ffi_type_info__.fields
    return {f.name: _plain(getattr(call.attrs, f.name)) for f in fields}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tvm.tirx.IntImm):
        return int(value)
    if isinstance(value, tvm.tirx.FloatImm):
        return float(value)
    if hasattr(value, "__iter__"):
        return tuple(_plain(v) for v in value)
    return str(value)


def _scan(module: tvm.IRModule, attrs: Any) -> Scan | None:
    if SCAN_KEY not in attrs:
        return None
    record = json.loads(str(attrs[SCAN_KEY]))
    return Scan(
        step=module[record["step"]],
        steps=record["steps"],
        sequences={int(k): v for k, v in record["sequences"].items()},
        carried=tuple(record["carried"]),
        results=tuple((kind, index) for kind, index in record["results"]),
        axis=record["axis"],
    )


__all__ = ["SCAN_KEY", "Graph", "Value", "walk"]
