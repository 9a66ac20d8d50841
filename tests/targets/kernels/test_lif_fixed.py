"""Scheduled ``lif_fixed`` against its reference, for every vector unit: exact."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.kernels import ISAS, run_scheduled
from fixtures.operands import LIF_RULES, TAILS, VALID, lif_attrs, lif_fixed_operands
from millijoule.converters.ops import LifRule
from millijoule.converters.ops.lif_fixed import lif_fixed_reference
from millijoule.targets.kernels.lif.fixed import known_rows
from millijoule.targets.target import Isa

by_isa = pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)


def check(arrays: list[np.ndarray], rule: LifRule, valid: np.ndarray | None, isa: Isa) -> None:
    attrs = {**lif_attrs(rule), "known": known_rows(arrays[1])}
    gate = [] if valid is None else [valid]
    results = run_scheduled("lif_fixed", attrs, [*arrays, *gate], isa)
    for got, want in zip(results, lif_fixed_reference(*arrays, valid, rule), strict=True):
        np.testing.assert_array_equal(got, want)


@by_isa
@pytest.mark.parametrize("rule", LIF_RULES.values(), ids=LIF_RULES)
@pytest.mark.parametrize(("channels", "valid"), [(7, VALID), (130, None)], ids=["gated", "wide"])
def test_rules(rule: LifRule, channels: int, valid: np.ndarray | None, isa: Isa) -> None:
    check(lif_fixed_operands(rule, channels), rule, valid, isa)


@by_isa
@pytest.mark.parametrize("channels", TAILS)
def test_widths(channels: int, isa: Isa) -> None:
    check(lif_fixed_operands(LifRule(), channels), LifRule(), VALID, isa)


@by_isa
def test_shifts_of_every_size(isa: Isa) -> None:
    for right in (np.arange(1, 32), np.arange(1, 63)):
        channels = len(right)
        x, params, state = lif_fixed_operands(LifRule(), channels)
        params[1] = right
        params[0] = np.where(right % 2, 3, -3) << np.clip(right - 2, 0, 24)
        x[0, 0, right > 33], x[0, 1, right > 33] = 2**31 - 1, -(2**31)
        check([x, params, state], LifRule(), None, isa)


@by_isa
@pytest.mark.parametrize("decay", [16384, 20000, 32768])
@pytest.mark.parametrize("right", [1, 17, 32, 40])
def test_parameters_that_all_channels_share(decay: int, right: int, isa: Isa) -> None:
    x, params, state = lif_fixed_operands(LifRule(), 35)
    params[1:6] = np.array([right, -300, decay, 65536, 0])[:, None]
    params[0] = np.arange(-40, 65, 3) << min(max(right - 2, 0), 24)  # potentials at the threshold
    check([x, params, state], LifRule(), VALID, isa)


def test_known_rows_are_those_with_one_value() -> None:
    _, params, _ = lif_fixed_operands(LifRule(), 35)
    assert known_rows(params) == {}
    params[3], params[5] = 16384, 0
    assert known_rows(params) == {"decay": 16384, "reset": 0}


def test_a_stream_gives_the_bits_of_the_sequence() -> None:
    rule = LifRule("leak", "zero", synaptic=True, strict=True)
    x, params, state = lif_fixed_operands(rule, 35)
    attrs = lif_attrs(rule)
    whole, last = run_scheduled("lif_fixed", attrs, [x, params, state], ISAS[0])
    for t in range(x.shape[1]):
        operands = [x[:, t : t + 1].copy(), params, state, np.ones(1, np.int32)]
        spikes, state = run_scheduled("lif_fixed", attrs, operands, ISAS[0])
        np.testing.assert_array_equal(spikes[:, 0], whole[:, t])
    np.testing.assert_array_equal(state, last)
