"""Every operator that graphs of other runtimes can hold, in every format, against torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.graphs import Case, assert_close, model_of, run_coreml, run_litert, run_onnx
from fixtures.operator_cases import CASES
from millijoule.errors import UnsupportedError
from millijoule.targets.litert import litert_graph
from millijoule.targets.onnx import onnx_graph

# what TFLite has not, and the words of the refusal
REFUSED = {"conv_transpose": "nn.conv2d_transpose has no form"}


@pytest.mark.parametrize("case", CASES, ids=[name for name, *_ in CASES])
def test_operator(case: Case, tmp_path: Path) -> None:
    """One conversion, three formats: ONNX Runtime, LiteRT, and the evaluator of MIL programs."""
    name, function, examples = case
    model = model_of(function, *examples)
    inputs, expected = model.sample_inputs, model.sample_outputs
    assert_close(run_onnx(onnx_graph(model).to_bytes(), inputs), expected)
    assert_close(run_coreml(model, tmp_path / "m.mjb"), expected)
    if name in REFUSED:
        with pytest.raises(UnsupportedError, match=REFUSED[name]):
            litert_graph(model)
    else:
        assert_close(run_litert(litert_graph(model).data, inputs), expected)
