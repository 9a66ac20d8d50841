"""Nodes that depend on no input, evaluated with ONNX's own reference implementation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial")


def evaluate(node: Any, opset: int, known: Mapping[str, np.ndarray]) -> Sequence[np.ndarray] | None:
    """Results of ``node`` on constant inputs, or None where the reference has no such operator."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    if node.op_type in _RANDOM or node.domain not in ("", "ai.onnx"):
        return None
    inputs = {name: np.asarray(known[name]) for name in node.input if name}
    if node.op_type == "GatherElements":  # the reference's own fails on some shapes
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        data, indices = (known[name] for name in node.input)
        return [np.take_along_axis(data, indices, axis)]
    info = onnx.helper.make_empty_tensor_value_info
    outputs = [name for name in node.output if name]
    graph = onnx.helper.make_graph(
        [node], "constant", [info(n) for n in inputs], [info(n) for n in outputs]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        results = ReferenceEvaluator(model).run(None, inputs)
    except Exception:  # of whatever kind: the node is then a kernel like any other
        return None
    if not all(isinstance(r, np.ndarray | np.generic) for r in results):
        return None
    by_name = dict(zip(outputs, map(np.asarray, results), strict=True))
    return [by_name.get(name, np.zeros(0)) for name in node.output]
