"""The second graph of a bundle: operators of ours as nodes that TensorRT calls our kernels for.

Such a node is ``MillijouleKernels`` of the domain ``millijoule``: its operands are what is
calculated, and last its weights as the kernels read them; ``entry`` and ``code`` name its launches
and the set of kernels, from which the device's plugin (`executors.tensorrt.plugin`) makes a layer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import onnx
from tvm import relax

from millijoule.bundle import PLUGIN_DOMAIN, PLUGIN_NAME, PLUGIN_VERSION
from millijoule.converters.importer import COMPOSITE_PREFIX, emit_composite
from millijoule.converters.model import Model
from millijoule.converters.ops import VOCABULARY
from millijoule.errors import UnsupportedError
from millijoule.targets.graph import Node, Value
from millijoule.targets.graph.forms import FORMS, Expansion, Form
from millijoule.targets.onnx import TABLE as ONNX_TABLE
from millijoule.targets.onnx import onnx_graph
from millijoule.targets.onnx.builder import OnnxEmitter
from millijoule.targets.tensorrt.kernels import FOLDER, SMS, TABLE, KernelTable

GRAPH = f"{FOLDER}/model.onnx"
OPS = ("binary_linear", "lif", "lif_record")


@dataclass(frozen=True)
class Plugins:
    """Members of the bundle, and what its recipe says of them."""

    files: Mapping[str, bytes]
    recipe: Mapping[str, Any]


def plugin_graph(model: Model, target: str, progress: Callable[[str], None]) -> Plugins:
    """Write ``model`` (float32) with nodes for kernels of ours, and compile these.

    Raises UnsupportedError for a model without any operator of `OPS` that has one.
    """
    table = KernelTable()
    emitters = {COMPOSITE_PREFIX + op: partial(_node, table) for op in OPS}
    forms = {**FORMS, **{op: _form(op) for op in OPS}}
    progress("writing the graph with plugins")
    graph = onnx_graph(
        model,
        target=target,
        table={**ONNX_TABLE, **emitters},
        forms=forms,
        domains={PLUGIN_DOMAIN: int(PLUGIN_VERSION)},
    )
    if not table.ops:
        raise UnsupportedError(
            f"[plugins] kernels of ours are for {', '.join(OPS)}, but this model has none of them;"
            " build it without --plugins"
        )
    files = table.files(progress)
    _name_code(graph.proto, hashlib.sha256(files[TABLE]).hexdigest())
    files[GRAPH] = graph.to_bytes()
    counts = {op: table.ops.count(op) for op in OPS if op in table.ops}
    return Plugins(files, {"graph": GRAPH, "table": TABLE, "nodes": counts, "sms": list(SMS)})


def _form(op: str) -> Form:
    """The op itself, with spikes as float32; real inputs of binary layers stay a product."""

    def kept(
        g: Expansion, attrs: dict[str, Any], operands: Sequence[relax.Expr]
    ) -> tuple[relax.Expr, ...]:
        if attrs.get("activations") == "real":
            return FORMS[op](g, attrs, operands)
        given = {**attrs, "dtype": "float32"} if "dtype" in attrs else attrs
        result = emit_composite(g.builder, VOCABULARY[op], given, list(operands), g.layer)
        if not isinstance(result.ty, relax.TupleType):
            return (result,)
        count = len(result.ty.fields)
        return tuple(g(relax.TupleGetItem(result, i)) for i in range(count))

    return kept


def _node(table: KernelTable, g: OnnxEmitter, node: Node) -> Value | tuple[Value, ...]:
    """Write one operator as a call of its kernels; ``code`` is known when all are compiled."""
    entry, weights = table.add(node)
    operands = [a for a in node.args if isinstance(a, Value)]
    results = g.nodes_of(
        PLUGIN_NAME,
        [*operands, g.exact(weights)],
        node.results,
        domain=PLUGIN_DOMAIN,
        entry=entry,
        code="",
        plugin_version=PLUGIN_VERSION,
    )
    return results if len(results) > 1 else results[0]


def _name_code(model: onnx.ModelProto, digest: str) -> None:
    """Enter the name of the compiled kernels into every node that calls some."""
    for node in model.graph.node:
        if node.domain == PLUGIN_DOMAIN:
            next(a for a in node.attribute if a.name == "code").s = digest.encode()
