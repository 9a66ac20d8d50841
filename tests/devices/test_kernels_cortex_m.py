"""Scheduled kernels on emulated Cortex-M cores: the forms that no host can run.

One image per core and operator holds all its cases, so that a test is one compilation and one run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mjbench.bare_metal import Call, run_calls

from fixtures.devices import require
from fixtures.gemm_s8 import gemm_s8_call, gemm_s8_reference
from fixtures.kernels import types_of
from fixtures.operands import (
    LIF_RULES,
    VALID,
    int8,
    lif_attrs,
    lif_fixed_operands,
    lif_operands,
    lmu_step_fixed_operands,
    lmu_step_operands,
    normal,
    rescale_operands,
    spikes,
)
from millijoule.converters.ops import VOCABULARY, LifRule
from millijoule.converters.ops.lif import lif_reference
from millijoule.converters.ops.lif_fixed import lif_fixed_reference
from millijoule.converters.ops.lmu_memory import (
    lmu_memory_reference,
    lmu_step_fixed_reference,
    lmu_step_reference,
)
from millijoule.converters.ops.quantize import quantize_reference
from millijoule.converters.ops.rescale import rescale_reference
from millijoule.converters.ops.spike_conv import spike_conv_reference
from millijoule.converters.ops.spike_linear import spike_linear_reference
from millijoule.targets.kernels import CPU_KERNELS
from millijoule.targets.kernels.epilogue import ASTYPE, Step
from millijoule.targets.kernels.lif.fixed import known_rows
from millijoule.targets.target import get_target

CORES = ("cortex-m3", "cortex-m4", "cortex-m7", "cortex-m55")
by_unit = pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])  # of floating point
by_core = pytest.mark.parametrize("core", CORES)
# (inputs, outputs): around words of four spikes, words of four columns and blocks of sixteen
SHAPES = [(1, 1), (3, 4), (15, 17), (16, 15), (17, 63), (64, 64), (65, 11), (256, 20), (300, 33)]

Case = tuple[str, Mapping[str, Any], Sequence[np.ndarray], Sequence[np.ndarray]]


def check(core: str, cases: Sequence[Case], folder: Path, atol: float = 0.0) -> None:
    """Run the cases (op, attributes, operands, expected results) on ``core``."""
    require(f"qemu:{core}")
    calls = []
    for name, attrs, arrays, _ in cases:
        types = types_of(arrays)
        form = CPU_KERNELS[name](attrs, types, get_target(core).isa)
        calls.append(Call(form, arrays, VOCABULARY[name].results(attrs, types)))
    for (name, attrs, arrays, expected), outcome in zip(
        cases, run_calls(core, calls, folder), strict=True
    ):
        for got, want in zip(outcome.results, expected, strict=True):
            where = f"{name} {dict(attrs)} {[a.shape for a in arrays]}"
            if got.dtype == np.float32:
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=atol, err_msg=where)
            else:
                np.testing.assert_array_equal(got, want, err_msg=where)


def spike_cases(integer: bool) -> list[Case]:
    cases: list[Case] = []
    weights = int8 if integer else normal
    for binary in (True, False):
        for inputs, outputs in SHAPES:
            s, w = spikes((2, 3, inputs), binary=binary), weights((inputs, outputs))
            s[0, 0], s[1, 2] = 0, 1
            bias = np.arange(outputs).astype(np.int32 if integer else np.float32) * 7000
            expected = spike_linear_reference(s, w, bias)
            cases.append(("spike_linear", {"binary": binary}, [s, w, bias], [expected]))
        for padding, channels, outputs in ((0, 64, 64), (1, 64, 16), (1, 17, 5), (0, 30, 33)):
            s, w = spikes((2, 4, channels), binary=binary), weights((3, channels, outputs))
            attrs = {"binary": binary, "padding": padding}
            cases.append(("spike_conv", attrs, [s, w], [spike_conv_reference(s, w, padding)]))
    return cases


@by_core
def test_int8_spike_layers(core: str, tmp_path: Path) -> None:
    cases = spike_cases(integer=True)
    s, w = np.ones((1, 1, 700), np.uint8), np.full((700, 17), -128, np.int8)
    bias = np.zeros(17, np.int32)  # sums of 16 bits overflow after 256 rows
    expected = spike_linear_reference(s, w, bias)
    check(core, [*cases, ("spike_linear", {"binary": True}, [s, w, bias], [expected])], tmp_path)


@by_unit
def test_float_spike_layers(core: str, tmp_path: Path) -> None:
    check(core, spike_cases(integer=False), tmp_path, atol=0.01)


@by_core
def test_lif_fixed(core: str, tmp_path: Path) -> None:
    cases: list[Case] = []
    for rule in LIF_RULES.values():
        for channels in (1, 7, 64):
            operands = [*lif_fixed_operands(rule, channels), VALID]
            expected = lif_fixed_reference(*operands, rule)
            for known in ({}, known_rows(operands[1])):
                attrs = {**lif_attrs(rule), "known": known}
                cases.append(("lif_fixed", attrs, operands, expected))
    for right in (9, 20, 32, 45):  # one value for all channels is part of the code
        x, params, state = lif_fixed_operands(LifRule(), 35)
        params[0] = np.arange(-40, 65, 3) << min(right - 2, 24)  # potentials about the threshold
        params[1:6] = np.array([right, 50, 16384, 65536, 0])[:, None]
        attrs = {**lif_attrs(LifRule()), "known": known_rows(params)}
        expected = lif_fixed_reference(x, params, state)
        cases.append(("lif_fixed", attrs, [x, params, state], expected))
    check(core, cases, tmp_path)


@by_unit
def test_float_lif(core: str, tmp_path: Path) -> None:
    cases: list[Case] = []
    for rule in LIF_RULES.values():
        operands = [*lif_operands(rule, 17), VALID]
        cases.append(("lif", lif_attrs(rule), operands, lif_reference(*operands, rule)))
    check(core, cases, tmp_path, atol=2e-6)


@by_core
def test_memories(core: str, tmp_path: Path) -> None:
    long = lmu_step_fixed_operands(17, 300, 290, 1)  # more rows than 16-bit sums hold
    long[1][:, 0], long[5][:, :290] = -128, 1
    cases: list[Case] = [("lmu_step_fixed", {}, long, lmu_step_fixed_reference(*long))]
    for order in (1, 17, 64):
        u, impulse = spikes((2, 10), rate=0.4), int8((12, order))
        cases.append(("lmu_memory", {}, [u, impulse], [lmu_memory_reference(u, impulse)]))
        real = normal((12, order))
        cases.append(("lmu_memory", {}, [u, real], [lmu_memory_reference(u, real)]))
        for now, valid in ((0, 1), (11, 1), (12, 1), (40, 1), (5, 0)):
            fixed = lmu_step_fixed_operands(order, 12, now, valid)
            cases.append(("lmu_step_fixed", {}, fixed, lmu_step_fixed_reference(*fixed)))
            for dtype in ("uint8", "float32"):
                operands = lmu_step_operands(order, 12, now, valid, dtype)
                cases.append(("lmu_step", {}, operands, lmu_step_reference(*operands)))
    check(core, cases, tmp_path, atol=1e-4)


@by_core
def test_quantize_and_rescale(core: str, tmp_path: Path) -> None:
    cases: list[Case] = []
    for width in (1, 40, 65):
        x = normal((2, width)) * 2
        x[0, 0] = 1e30
        cases.append(("quantize", {"scale": 0.02}, [x], [quantize_reference(x, 0.02)]))
        for right in (1, 22, 32, 45):
            operands = rescale_operands((2, width), right)
            expected = [rescale_reference(*operands, right)]
            cases.append(("rescale", {"right": right}, operands, expected))
    check(core, cases, tmp_path)


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m7"])
def test_spikes_save_instructions(core: str, tmp_path: Path) -> None:
    """A layer of kws-digits at spike rates like its own, 10 to 30 %, against its dense form."""
    require(f"qemu:{core}")
    isa, w = get_target(core).isa, int8((3, 64, 64))
    attrs, calls = {"binary": True, "padding": 0}, []
    for rate in (0.1, 0.2, 0.3):
        s = spikes((8, 3, 64), rate=rate)
        types = types_of([s, w])
        form = CPU_KERNELS["spike_conv"](attrs, types, isa)
        calls.append(Call(form, [s, w], VOCABULARY["spike_conv"].results(attrs, types)))
    x = s.reshape(8, 1, 192).astype(np.int8)
    calls.append(Call(*gemm_s8_call(x, w.reshape(1, 192, 64), isa)))
    *spiking, dense = run_calls(core, calls, tmp_path)
    np.testing.assert_array_equal(spiking[-1].results[0], dense.results[0])
    ratios = [outcome.instructions / dense.instructions for outcome in spiking]
    assert ratios == sorted(ratios)
    # measured: 12, 19 and 28 % on M4, 14, 24 and 35 % on M7
    assert ratios[0] < 0.2
    assert ratios[2] < 0.4


@by_core
def test_int8_products(core: str, tmp_path: Path) -> None:
    require(f"qemu:{core}")
    isa = get_target(core).isa
    calls, expected = [], []
    for m, k, n in ((1, 1, 1), (2, 15, 5), (1, 64, 64), (3, 65, 13), (1, 1030, 7)):
        x, w = int8((1, m, k), 3), int8((1, k, n))
        x[0, 0], w[0, :, -1] = -127, 127  # the largest sums there are
        calls.append(Call(*gemm_s8_call(x, w, isa)))
        expected.append(gemm_s8_reference(x, w))
    x, w = int8((2, 5, 17), 3), int8((3, 17, 9))
    calls.append(Call(*gemm_s8_call(x, w, isa, padding=1)))
    expected.append(gemm_s8_reference(x, w, padding=1))
    steps = [Step(ASTYPE, dtype="float32"), Step("relax.multiply", 0, "column")]
    scale = normal((9,))
    calls.append(Call(*gemm_s8_call(x, w, isa, steps, [scale])))
    expected.append((gemm_s8_reference(x, w) * scale).astype(np.float32))
    for want, outcome in zip(expected, run_calls(core, calls, tmp_path), strict=True):
        if want.dtype == np.int32:
            np.testing.assert_array_equal(outcome.results[0], want)
        else:
            np.testing.assert_allclose(outcome.results[0], want, rtol=1e-6)
