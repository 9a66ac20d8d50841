"""An ONNX graph, node by node → one Relax function.

The conversions are ours (`ops.CONVERTERS`) and else those of TVM's importer; the walk is ours, so
that whatever is known stays known: a node whose inputs are all constants is evaluated, shapes are
constants since they are static, and an error names its node.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend

from millijoule.converters.frontends.onnx.constants import evaluate
from millijoule.converters.frontends.onnx.load import Loaded
from millijoule.converters.frontends.onnx.ops import CONVERTERS, LABELLED, REFUSED, known_ops
from millijoule.converters.frontends.onnx.sizes import (
    SIZED,
    evaluate_sizes,
    is_sizes,
    size_array,
)
from millijoule.converters.importer import relax_type, tensor_type, with_dims
from millijoule.converters.ops import TensorType
from millijoule.converters.problems import OperatorsUnsupportedError, Problem
from millijoule.errors import MjError, UnsupportedError

_REMEDY = "export the model without it (`mj targets --ops onnx` lists what is supported)"


class GraphImporter:
    """One import of ``loaded``."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self.builder = relax.BlockBuilder()
        self.known: dict[str, np.ndarray] = dict(loaded.constants)
        self.values: dict[str, relax.Expr] = {}
        self._layers: dict[str, str] = {}
        self._parse = onnx_frontend.ONNXGraphImporter({}, None)._parse_attr

    def run(self) -> tuple[tvm.IRModule, dict[str, str], dict[str, TensorType]]:
        """The module, its layers' names, and the outputs by name.

        UnsupportedError names the first node that cannot be imported and all other operators.
        """
        problems = unsupported_nodes(self._loaded)
        if problems:
            raise OperatorsUnsupportedError("onnx", problems, _REMEDY)
        graph = self._loaded.proto.graph
        params = [relax.Var(f"x{i}", relax_type(_as_byte(t)))
                  for i, t in enumerate(self._loaded.inputs.values())]  # fmt: skip
        with self.builder.function("main", params=params):
            with self.builder.dataflow():
                for (name, t), param in zip(self._loaded.inputs.items(), params, strict=True):
                    self.values[name] = self._truth(param) if t.dtype == "bool" else param
                for node in graph.node:
                    self._convert(node)
                results = [self.value(output.name) for output in graph.output]
                types = {o.name: tensor_type(r)
                         for o, r in zip(graph.output, results, strict=True)}  # fmt: skip
                bytes_ = [self._byte(r) for r in results]
                out = self.builder.emit_output(
                    bytes_[0] if len(bytes_) == 1 else relax.Tuple(bytes_)
                )
            self.builder.emit_func_output(out)
        symbols = {d.name: d for d in self._loaded.dims}
        return with_dims(self.builder.get(), symbols), self._layers, types

    def value(self, name: str) -> relax.Expr:
        """The Relax expression of a tensor; constants are made when they are needed."""
        if name not in self.values:
            known = self.known[name]  # the dtype is said, or int64 would become int32
            self.values[name] = relax.const(known, str(known.dtype))
        return self.values[name]

    def _truth(self, x: relax.Expr) -> relax.Expr:
        return self.builder.emit(relax.op.not_equal(x, relax.const(0, "uint8")))

    def _byte(self, x: relax.Expr) -> relax.Expr:
        if isinstance(x, tvm.ir.Constant):
            x = self.builder.emit(x)
        if str(x.ty.dtype) == "bool":
            return self.builder.emit(relax.op.astype(x, "uint8"))
        return x

    def _convert(self, node: Any) -> None:
        where = where_of(node)
        try:
            results = self._results(node)
        except MjError as error:
            raise UnsupportedError(f"[onnx] {where}: {error}") from error
        except Exception as error:  # TVM's conversions raise whatever came first
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise UnsupportedError(
                f"[onnx] {where} has a form that cannot be imported: {reason}; export the model "
                "with another operator there"
            ) from error
        for name, result in zip(node.output, results, strict=False):
            if not name or result is None:
                continue
            if isinstance(result, np.ndarray):
                self.known[name] = result
            else:
                self.values[name] = self._bind(node, result)

    def _results(self, node: Any) -> list[Any]:
        inputs = [name for name in node.input if name]
        varying = [name for name in inputs if is_sizes(self.known.get(name))]
        if node.op_type in ("Shape", "Size") and inputs[0] not in self.known:
            return [_size_of(node, tensor_type(self.value(inputs[0])).shape)]
        if varying and node.op_type not in SIZED:
            if not all(name in self.known for name in inputs):
                raise UnsupportedError(
                    f"{node.op_type} of a tensor and a size that varies is not supported; build "
                    "for fixed sizes"
                )
            return [evaluate_sizes(node, self.known)]
        if not varying and all(name in self.known for name in inputs):
            done = evaluate(node, self._loaded.opset, self.known)
            if done is not None:
                return list(done)
        attributes = self._parse(node.attribute)
        own = CONVERTERS.get(node.op_type)
        if varying or (node.op_type == "Reshape" and not tensor_type(self.value(inputs[0])).static):
            if is_sizes(self.known.get(inputs[0])):
                return [evaluate_sizes(node, self.known)]
            own = SIZED[node.op_type]
        made = own(self, node, attributes) if own is not None else self._by_tvm(node, attributes)
        return _fields(self.builder, made, len(node.output))

    def _by_tvm(self, node: Any, attributes: dict[str, Any]) -> Any:
        """TVM's conversion of a node."""
        attributes["tvm_custom"] = {"name": node.name, "num_outputs": len(node.output)}
        inputs = onnx_frontend.onnx_input(
            [self.value(name) if name else None for name in node.input]
        )
        converter = onnx_frontend._get_convert_map()[node.op_type]
        function = converter.get_converter(self._loaded.opset)
        params = {name: self.value(name) for name in node.input if name}
        return function(self.builder, inputs, attributes, [params, {}])

    def _bind(self, node: Any, result: relax.Expr) -> relax.Expr:
        """``result`` in a variable of its own; UnsupportedError if its shape is not known."""
        result = self.builder.normalize(result)
        if isinstance(result, tvm.ir.Constant):
            return result
        var = result if isinstance(result, relax.Var) else self.builder.emit(result)
        ty = var.ty
        if not isinstance(ty, relax.TensorType) or ty.shape is None:
            raise UnsupportedError(f"{node.op_type} gives a shape that depends on values")
        tensor_type(var)  # sizes that vary are made of dimensions
        if node.op_type in LABELLED:
            self._layers[var.name] = node.name or node.output[0]
        return var


def unsupported_nodes(loaded: Loaded) -> list[Problem]:
    """Every node that cannot be imported, in the graph's order."""
    table = known_ops()
    problems = []
    for node in loaded.proto.graph.node:
        domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
        name = domain + node.op_type
        if name in REFUSED:
            problems.append(Problem(name, where_of(node), REFUSED[name]))
        elif name not in table:
            problems.append(Problem(name, where_of(node), ""))
    return problems


def where_of(node: Any) -> str:
    """``node NAME (Operator)``, or its first output if it has no name."""
    return f"node {node.name or node.output[0]!r} ({node.op_type})"


def _size_of(node: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Result of Shape (with start and end) or Size."""
    if node.op_type == "Size":
        return size_array(math.prod(shape))
    ends = {a.name: a.i for a in node.attribute}
    return size_array(shape[ends.get("start", 0) : ends.get("end", len(shape))])


def _fields(builder: relax.BlockBuilder, made: Any, count: int) -> list[Any]:
    """The results of a conversion, one by one."""
    if isinstance(made, list | tuple):
        return list(made)
    if isinstance(made, np.ndarray):
        return [made]
    made = builder.normalize(made)
    if isinstance(made, relax.Tuple):
        return list(made.fields)
    if isinstance(made.ty, relax.TupleType):
        whole = builder.emit(made)
        return [relax.TupleGetItem(whole, i) for i in range(min(count, len(made.ty.fields)))]
    return [made]


def _as_byte(t: TensorType) -> TensorType:
    return TensorType(t.shape, "uint8") if t.dtype == "bool" else t
