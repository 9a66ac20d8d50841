"""Binary kernels on emulated Cortex-M cores: counting in nibbles and bytes, sums from tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mjbench.bare_metal import Call, run_calls

from fixtures.binary_cases import attention_cases, embedding_case, linear_cases
from fixtures.devices import require
from fixtures.kernels import types_of
from millijoule.converters.ops import VOCABULARY
from millijoule.targets.kernels import CPU_KERNELS
from millijoule.targets.target import get_target

SHAPES = [(1, 1, 1), (2, 15, 5), (1, 64, 33), (2, 65, 4), (1, 1100, 3)]


@pytest.mark.parametrize("core", ["cortex-m7", "cortex-m55"])
def test_binary_kernels(core: str, tmp_path: Path) -> None:
    require(f"qemu:{core}")
    cases = [*linear_cases(SHAPES), *attention_cases([(1, 1, 1), (18, 2, 15)]), embedding_case()]
    calls = []
    for name, attrs, arrays, _ in cases:
        types = types_of(arrays)
        form = CPU_KERNELS[name](attrs, types, get_target(core).isa)
        calls.append(Call(form, arrays, VOCABULARY[name].results(attrs, types)))
    for case, outcome in zip(cases, run_calls(core, calls, tmp_path), strict=True):
        for got, want in zip(outcome.results, case[3], strict=True):
            where = f"{case[0]} {case[1]} {[a.shape for a in case[2]]}"
            if got.dtype == np.uint8:
                np.testing.assert_array_equal(got, want, where)
            else:  # a thousand additions in float32; sums of signs are exact but for scale and bias
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4, err_msg=where)
