"""`OnnxEmitter`: nodes, constants, inputs and outputs of one ONNX graph under construction."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from millijoule.converters.ops import TensorType
from millijoule.errors import UnsupportedError
from millijoule.targets.graph import Arg, Emitter, Node, Value

DTYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}


class OnnxEmitter:
    """Collects the nodes of a graph. A loop's body has its own, over the constants of the first.

    ``precision``: type of every float32 tensor inside; the graph's inputs and outputs stay float32.
    """

    def __init__(self, precision: str = "float32", outer: OnnxEmitter | None = None) -> None:
        self.precision = precision
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._outer = outer
        self._counter: itertools.count[int] = outer._counter if outer else itertools.count()
        self.initializers: dict[bytes, onnx.TensorProto] = outer.initializers if outer else {}
        self.layer = ""

    @property
    def written(self) -> int:
        """Nodes so far."""
        return len(self.nodes)

    def fresh(self, hint: str) -> str:
        """A name that no other value has."""
        return f"{hint}_{next(self._counter)}"

    def input(self, name: str, type: TensorType) -> Value:
        """Declare an input."""
        if self._outer is None and type.dtype == "float32" != self.precision:
            self.inputs.append(_info(name, type.shape, DTYPES["float32"]))
            return self.node("Cast", [Value(name, type)], type, to=self.dtype("float32"))
        self.inputs.append(_info(name, type.shape, self.dtype(type.dtype)))
        return Value(name, type)

    def dtype(self, name: str) -> int:
        """ONNX's number for elements of type ``name`` as they are calculated with in this graph."""
        if name not in DTYPES:
            raise UnsupportedError(f"[onnx] tensors of type {name} cannot be written")
        return DTYPES[self.precision if name == "float32" else name]

    def output(self, name: str, value: Arg) -> None:
        """Declare an output; it gets a node of its own, so that its name is free."""
        tensor = self.value(value)
        inside, outside = self.dtype(tensor.type.dtype), DTYPES[tensor.type.dtype]
        if self._outer is not None or inside == outside:
            op, outside, attributes = "Identity", inside, {}
        else:
            op, attributes = "Cast", {"to": outside}
        self.nodes.append(
            helper.make_node(op, [tensor.name], [name], name=f"out:{name}", **attributes)
        )
        self.outputs.append(_info(name, tensor.type.shape, outside))

    def exact(self, array: Any) -> Value:
        """A constant of just its own type, whatever the graph calculates in."""
        return self._constant(np.asarray(array))

    def value(self, arg: Arg) -> Value:
        """``arg`` as a tensor; a constant becomes an initializer, equal ones the same."""
        if isinstance(arg, Value):
            return arg
        if isinstance(arg, tuple) or arg is None:
            raise TypeError(f"an operand must be a tensor, but is {arg!r}")
        array = np.asarray(arg)
        shown = TensorType(array.shape, str(array.dtype))
        self.dtype(shown.dtype)
        if shown.dtype == "float32":
            array = array.astype(self.precision)
        return Value(self._constant(array).name, shown)

    def _constant(self, array: np.ndarray) -> Value:
        key = hashlib.sha256(array.tobytes() + repr((array.shape, array.dtype)).encode()).digest()
        if key not in self.initializers:
            name = f"c{len(self.initializers)}"
            self.initializers[key] = numpy_helper.from_array(np.array(array, order="C"), name)
        shown = TensorType(array.shape, str(array.dtype))
        return Value(self.initializers[key].name, shown)

    def ints(self, values: Sequence[int]) -> Value:
        """A constant list of int64, as ONNX wants shapes and axes."""
        return self.value(np.array(values, np.int64))

    def node(self, op: str, args: Sequence[Arg], result: TensorType, **attributes: Any) -> Value:
        """Append a node with one result; an operand None is left out."""
        return self.nodes_of(op, args, [result], **attributes)[0]

    def nodes_of(
        self, op: str, args: Sequence[Arg], results: Sequence[TensorType], **attributes: Any
    ) -> tuple[Value, ...]:
        """Append a node with several results."""
        names = ["" if a is None else self.value(a).name for a in args]
        outs = [Value(self.fresh(op.lower()), t) for t in results]
        label = self.fresh(f"{self.layer}:{op}" if self.layer else op)
        given = {k: v for k, v in attributes.items() if v is not None}
        self.nodes.append(helper.make_node(op, names, [o.name for o in outs], name=label, **given))
        return tuple(outs)

    def scan(
        self, node: Node, walk_step: Callable[[Emitter, Sequence[Arg]], list[Arg]]
    ) -> tuple[Value, ...]:
        """A loop along time as ONNX ``Scan``: carried states, then the sequences, step by step."""
        plan, body = node.scan, OnnxEmitter(self.precision, self)
        assert plan is not None
        body.layer = node.layer
        args: list[Arg] = list(node.args)
        for index in (*plan.carried, *plan.sequences):
            axis = plan.sequences.get(index)
            t = self.value(node.args[index]).type
            shape = t.shape if axis is None else t.shape[:axis] + t.shape[axis + 1 :]
            # one number of a sequence is a scalar there; the step wants a list of one
            value = body.input(self.fresh("step"), TensorType(shape, t.dtype))
            args[index] = (
                value
                if shape
                else body.node("Reshape", [value, body.ints([1])], TensorType((1,), t.dtype))
            )
        for place, result in enumerate(walk_step(body, args)):
            body.output(self.fresh(f"new{place}"), result)
        graph = helper.make_graph(body.nodes, self.fresh("loop"), body.inputs, body.outputs)
        carried = [self.value(node.args[i]).type for i in plan.carried]
        stacked = [
            t for (kind, _), t in zip(plan.results, node.results, strict=True) if kind == "stack"
        ]
        outs = self.nodes_of(
            "Scan",
            [node.args[i] for i in (*plan.carried, *plan.sequences)],
            [*carried, *stacked],
            body=graph,
            num_scan_inputs=len(plan.sequences),
            scan_input_axes=list(plan.sequences.values()),
            scan_output_axes=[plan.axis] * len(stacked),
        )
        first = len(carried)
        return tuple(outs[i + (first if kind == "stack" else 0)] for kind, i in plan.results)


def _info(name: str, shape: tuple[int, ...], dtype: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, list(shape))
