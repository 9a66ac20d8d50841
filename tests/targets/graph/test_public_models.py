"""Public models as graphs of every format, against torch; other sources are in the matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mjbench.coverage.measure import LIMIT, make

import millijoule as mj
from fixtures.graphs import run_coreml, run_litert, run_onnx
from millijoule.converters.model import Model
from millijoule.targets.litert import litert_graph
from millijoule.targets.onnx import onnx_graph

# one of each kind: plain and in shifted windows, convolutions, an encoder and a decoder of text
MODELS = (
    "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "convnext_atto",
    "bert-base",
    "gpt2",
)


def error(got: dict[str, np.ndarray], model: Model) -> float:
    """Largest difference of an output over its largest value."""
    worst = 0.0
    for name, want in model.sample_outputs.items():
        scale = float(np.abs(want).max()) or 1.0
        worst = max(worst, float(np.abs(got[name].astype(np.float64) - want).max()) / scale)
    return worst


@pytest.mark.parametrize("name", MODELS)
def test_like_torch(name: str, tmp_path: Path) -> None:
    """One conversion, three formats."""
    module, inputs = make(name, True)
    model = mj.convert(module, example_inputs=inputs, name=name)
    feeds = model.sample_inputs
    errors = {
        "tensorrt": error(run_onnx(onnx_graph(model).to_bytes(), feeds), model),
        "litert": error(run_litert(litert_graph(model).data, feeds), model),
        "coreml": error(run_coreml(model, tmp_path / "m.mjb"), model),
    }
    assert max(errors.values()) <= LIMIT, errors
