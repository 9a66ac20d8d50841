"""A converted `Model` → an ONNX model, checked by ONNX's own checker."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx
from onnx import helper

from millijoule.converters.model import Model
from millijoule.converters.ops import TensorType
from millijoule.targets.graph import Table, Written, prepare
from millijoule.targets.graph.forms import FORMS, Form
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
    table: Table = TABLE,
    forms: Mapping[str, Form] = FORMS,
    domains: Mapping[str, int] | None = None,
) -> OnnxGraph:
    """Write ``model`` as ONNX; arguments and errors as those of `graph.prepare`.

    ``precision``: the type inside; inputs and outputs stay float32. ``domains``: versions of the
    operator sets that ``table`` writes nodes of besides ONNX's own.
    """
    prepared = prepare(model, table, precision, target, show, forms)
    g = OnnxEmitter(precision)
    written = prepared.emit(g)
    graph = helper.make_graph(
        g.nodes, model.name, g.inputs, g.outputs, initializer=list(g.initializers.values())
    )
    proto = helper.make_model(
        graph,
        opset_imports=[
            helper.make_opsetid(name, version)
            for name, version in {"": OPSET, **(domains or {})}.items()
        ],
        ir_version=IR_VERSION,
        producer_name="millijoule",
        producer_version=__version__,
    )
    onnx.checker.check_model(proto, full_check=True)
    return OnnxGraph(proto, written, prepared.states)
