"""Every operator that TFLite graphs can hold, against torch."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.graphs import Case, assert_close, model_of, run_litert
from fixtures.operator_cases import CASES
from millijoule.errors import UnsupportedError
from millijoule.targets.litert import litert_graph
from millijoule.targets.litert.builder import pack

# what TFLite has not, and the words of the refusal
REFUSED = {"conv_transpose": "nn.conv2d_transpose has no form"}


@pytest.mark.parametrize("case", CASES, ids=[name for name, *_ in CASES])
def test_operator(case: Case) -> None:
    name, function, examples = case
    model = model_of(function, *examples)
    if name in REFUSED:
        with pytest.raises(UnsupportedError, match=REFUSED[name]):
            litert_graph(model)
        return
    assert_close(run_litert(litert_graph(model).data, model.sample_inputs), model.sample_outputs)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("count", [1, 3, 4, 5, 64, 65])
def test_packing(bits: int, count: int) -> None:
    rng = np.random.default_rng(count)
    values = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), count).astype(np.int8)
    packed = np.frombuffer(pack(values, bits), np.uint8)
    assert packed.size == -(-count * bits // 8)
    planes = np.stack([packed >> (bits * i) & ((1 << bits) - 1) for i in range(8 // bits)], 1)
    flat = planes.ravel()[:count].astype(np.int8)
    np.testing.assert_array_equal(np.where(flat >> (bits - 1), flat - (1 << bits), flat), values)
