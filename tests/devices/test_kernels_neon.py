"""int8 products and spike layers on emulated ARM Linux cores: SDOT and SMLAL are instructions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fixtures.arm_linux import run_on
from fixtures.devices import require
from fixtures.gemm_s8 import gemm_s8_call, gemm_s8_reference
from fixtures.kernels import types_of
from fixtures.operands import int8, spikes
from millijoule.converters.ops import VOCABULARY
from millijoule.converters.ops.spike_linear import spike_linear_reference
from millijoule.targets.kernels import CPU_KERNELS
from millijoule.targets.target import get_target

CORES = ("cortex-a72", "cortex-a76", "armv7")


@pytest.mark.parametrize("core", CORES)
def test_products(core: str, tmp_path: Path) -> None:
    require(f"qemu:{core}")
    x, w = int8((1, 3, 65), 3), int8((1, 65, 70))
    x[0, 0], w[0, :, -1] = -127, 127  # the largest sums there are
    (y,) = run_on(core, gemm_s8_call(x, w, get_target(core).isa), tmp_path)
    np.testing.assert_array_equal(y, gemm_s8_reference(x, w))


@pytest.mark.parametrize("core", CORES)
def test_spike_layers(core: str, tmp_path: Path) -> None:
    require(f"qemu:{core}")
    s, w = spikes((1, 4, 300)), int8((300, 71))
    s[0, 0], w[:, 0] = 1, -128  # the farthest from zero that 16-bit sums can get
    arrays = [s, w, np.arange(71, dtype=np.int32) * 70000]
    types = types_of(arrays)
    form = CPU_KERNELS["spike_linear"]({"binary": True}, types, get_target(core).isa)
    results = VOCABULARY["spike_linear"].results({"binary": True}, types)
    (y,) = run_on(core, (form, arrays, results), tmp_path)
    np.testing.assert_array_equal(y, spike_linear_reference(*arrays))
