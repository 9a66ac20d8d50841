"""A converted `Model` → an ONNX model, checked by ONNX's own checker."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import onnx
from onnx import helper

from millijoule.converters.importer import tensor_type
from millijoule.converters.model import Model
from millijoule.converters.ops import TensorType
from millijoule.targets.graph import Written, check, check_precision, expand, walk
from millijoule.targets.onnx.builder import OnnxEmitter
from millijoule.targets.onnx.emit import TABLE
from millijoule.version import __version__

OPSET, IR_VERSION = 17, 8  # LayerNormalization came with 17; TensorRT 8.5 and later read it


@dataclass(frozen=True)
class OnnxGraph:
    """The graph, what was written for every operator of the model, and the types of its states."""

    proto: onnx.ModelProto
    written: tuple[Written, ...]
    states: tuple[tuple[str, TensorType], ...]

    def to_bytes(self) -> bytes:
        """The file; equal models give equal bytes."""
        return bytes(self.proto.SerializeToString(deterministic=True))


def onnx_graph(
    model: Model,
    *,
    precision: str = "float32",
    target: str = "onnx",
    show: Collection[str] = (),
) -> OnnxGraph:
    """Write ``model`` as ONNX.

    Inputs and outputs keep their names; states become inputs ``state:<name>`` and outputs
    ``next:<name>``, as float32 where they hold spikes.

    Args:
        model: float32; not quantized.
        precision: "float32" or "float16", the type inside; inputs and outputs stay float32.
        target: whose name errors carry.
        show: vocabulary ops (``lif``) whose taps (``spikes:<layer>``) become outputs, too, as
            float32, under the names that the model publishes them by.

    Raises UnsupportedError that names what has no form, before anything is written.
    """
    count = len(model.inputs)
    check_precision(model.module, precision, target)
    expanded = expand(model.module, model.layers, first_state=count, show=show, target=target)
    module, layers = expanded.module, expanded.layers
    check(module, TABLE, layers, target)
    g, main, written = OnnxEmitter(precision), module["main"], list[Written]()
    states = tuple(
        (name, tensor_type(p))
        for (name, _), p in zip(model.states, main.params[count:], strict=True)
    )
    params = [
        *(g.input(name, t) for name, t in model.inputs),
        *(g.input(f"state:{name}", t) for name, t in states),
    ]
    results = walk(module, main, layers, params, g, TABLE, written)
    own = [name for name, _ in model.outputs]
    shown = [model.aliases.get(tap, tap) for tap in expanded.shown]
    names = [*own, *shown, *(f"next:{name}" for name, _ in states)]
    for name, value in zip(names, results, strict=True):
        g.output(name, value)
    graph = helper.make_graph(
        g.nodes, model.name, g.inputs, g.outputs, initializer=list(g.initializers.values())
    )
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="millijoule",
        producer_version=__version__,
    )
    onnx.checker.check_model(proto, full_check=True)
    return OnnxGraph(proto, tuple(written), states)
