"""Every operator that ONNX graphs can hold, against torch."""

from __future__ import annotations

import pytest

from fixtures.graphs import Case, assert_close, model_of, run_onnx
from fixtures.operator_cases import CASES
from millijoule.targets.onnx import onnx_graph


@pytest.mark.parametrize("case", CASES, ids=[name for name, *_ in CASES])
def test_operator(case: Case) -> None:
    _, function, examples = case
    model = model_of(function, *examples)
    assert_close(run_onnx(onnx_graph(model).to_bytes(), model.sample_inputs), model.sample_outputs)
