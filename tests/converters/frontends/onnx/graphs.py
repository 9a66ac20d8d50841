"""ONNX graphs of single nodes side by side, compared with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import millijoule as mj
from millijoule.converters.frontends.onnx import convert_onnx
from millijoule.targets import build

OPSET = 20
# graph inputs that cases name
INPUTS = {
    "x": (TensorProto.FLOAT, (2, 3, 4)),
    "y": (TensorProto.FLOAT, (2, 3, 4)),
    "img": (TensorProto.FLOAT, (1, 4, 8, 10)),
    "i": (TensorProto.INT64, (2, 3, 4)),
    "b": (TensorProto.BOOL, (2, 3, 4)),
}


@dataclass
class Case:
    """One node: inputs are names of `INPUTS` or constant arrays (None: left out)."""

    op: str
    inputs: Sequence[Any] = ("x",)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    domain: str = ""


def case(op: str, *inputs: Any, outputs: int = 1, domain: str = "", **attributes: Any) -> Case:
    """A `Case`; without inputs the node reads x."""
    return Case(op, inputs or ("x",), attributes, outputs, domain)


def model_of(cases: Mapping[str, Case], opset: int = OPSET) -> onnx.ModelProto:
    """One graph with every case; outputs are called as the cases."""
    nodes, weights, outputs, used = [], [], [], set()
    for name, c in cases.items():
        names = []
        for at, value in enumerate(c.inputs):
            if isinstance(value, str):
                names.append(value)
                used.add(value)
            elif value is None:
                names.append("")
            else:
                names.append(f"{name}_{at}")
                weights.append(numpy_helper.from_array(np.asarray(value), names[-1]))
        results = [name if k == 0 else f"{name}.{k}" for k in range(c.outputs)]
        nodes.append(
            helper.make_node(
                c.op, names, results, name=f"n_{name}", domain=c.domain, **c.attributes
            )
        )
        outputs += results
    inputs = [helper.make_tensor_value_info(n, *INPUTS[n]) for n in INPUTS if n in used]
    graph = helper.make_graph(nodes, "cases", inputs, [], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    types = {value.name: value for value in inferred.graph.value_info}
    for name in outputs:
        if name not in types or not types[name].type.tensor_type.HasField(
            "shape"
        ):  # a function of ONNX, which inference does not look into
            types[name] = helper.make_tensor_value_info(name, *INPUTS[cases[name].inputs[0]])
    model.graph.output.extend(types[name] for name in outputs)
    return model


def check(cases: Mapping[str, Case], folder: Path, opset: int = OPSET) -> None:
    """Import, build and run all ``cases``; compare with what ONNX Runtime gave.

    Tolerance: elementary functions differ from ONNX Runtime's in the last bits.
    """
    path = folder / "cases.onnx"
    onnx.save(model_of(cases, opset), path)
    model = convert_onnx(path)
    build(model, "host", folder / "m.mjb").close()
    with mj.load(folder / "m.mjb") as session:
        got = session.run(dict(model.sample_inputs))
    wrong = {}
    for name, want in model.sample_outputs.items():
        assert got[name].dtype == want.dtype, (name, got[name].dtype, want.dtype)
        if not np.allclose(got[name], want, rtol=1e-5, atol=2e-6):
            wrong[name] = float(np.abs(got[name].astype("f8") - want).max())
    assert not wrong, wrong
