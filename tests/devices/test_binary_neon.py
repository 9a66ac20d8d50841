"""Binary kernels on emulated ARM Linux cores: bits are counted by ``cnt``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fixtures.arm_linux import run_on
from fixtures.binary_cases import Case, attention_cases, embedding_case, linear_cases
from fixtures.devices import require
from fixtures.kernels import types_of
from millijoule.converters.ops import VOCABULARY
from millijoule.targets.kernels import CPU_KERNELS
from millijoule.targets.target import get_target

CASES = {
    **{f"linear-{i}": case for i, case in enumerate(linear_cases([(3, 1100, 70)]))},
    **{f"attention-{case[1]['rule']}": case for case in attention_cases([(37, 2, 24)])},
    "embedding": embedding_case(),
}


@pytest.mark.parametrize("core", ["cortex-a72", "armv7"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_binary_kernels(case: Case, core: str, tmp_path: Path) -> None:
    require(f"qemu:{core}")
    name, attrs, arrays, expected = case
    types = types_of(arrays)
    form = CPU_KERNELS[name](attrs, types, get_target(core).isa)
    results = VOCABULARY[name].results(attrs, types)
    for got, want in zip(run_on(core, (form, arrays, results), tmp_path), expected, strict=True):
        if got.dtype == np.uint8:
            np.testing.assert_array_equal(got, want)
        else:  # a thousand additions in float32; sums of signs are exact but for scale and bias
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-4)
