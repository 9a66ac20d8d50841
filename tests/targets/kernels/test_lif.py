"""Scheduled ``lif`` against its reference, for every vector unit."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.kernels import ISAS, run_scheduled
from fixtures.operands import LIF_RULES, TAILS, VALID, lif_attrs, lif_operands
from millijoule.converters.ops import LifRule
from millijoule.converters.ops.lif import lif_record_reference, lif_reference
from millijoule.targets.kernels import form
from millijoule.targets.target import Isa

by_isa = pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)


def check(
    rule: LifRule, channels: int, valid: np.ndarray | None, isa: Isa, dtype: str = "uint8"
) -> None:
    arrays = lif_operands(rule, channels)
    gate = [] if valid is None else [valid]
    spikes, state = run_scheduled("lif", lif_attrs(rule, dtype), [*arrays, *gate], isa)
    expected, last = lif_reference(*arrays, valid, rule)
    assert spikes.dtype == dtype
    np.testing.assert_array_equal(spikes, expected)
    np.testing.assert_allclose(state, last, rtol=1e-6, atol=2e-6)


@by_isa
@pytest.mark.parametrize("rule", LIF_RULES.values(), ids=LIF_RULES)
@pytest.mark.parametrize(("channels", "valid"), [(7, VALID), (130, None)], ids=["gated", "wide"])
def test_rules(rule: LifRule, channels: int, valid: np.ndarray | None, isa: Isa) -> None:
    check(rule, channels, valid, isa)


@by_isa
@pytest.mark.parametrize("channels", TAILS)
def test_widths(channels: int, isa: Isa) -> None:
    check(LifRule(), channels, VALID, isa)


@by_isa
@pytest.mark.parametrize("rule", LIF_RULES.values(), ids=LIF_RULES)
@pytest.mark.parametrize("record", ["before", "after"])
def test_recorded_potentials(rule: LifRule, record: str, isa: Isa) -> None:
    arrays = lif_operands(rule, 35)
    attrs = {**lif_attrs(rule), "record": record}
    results = run_scheduled("lif_record", attrs, [*arrays, VALID], isa)
    expected = lif_record_reference(*arrays, VALID, rule, record)
    np.testing.assert_array_equal(results[0], expected[0])
    for got, want in zip(results[1:], expected[1:], strict=True):
        np.testing.assert_allclose(got, want, atol=2e-6)


@by_isa
def test_float_spikes(isa: Isa) -> None:
    check(LifRule(), 35, VALID, isa, dtype="float32")


@by_isa
def test_blocks_in_parallel(isa: Isa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "PARALLEL_OPERATIONS", 1)
    check(LifRule(), 300, None, isa)
    check(LifRule("leak", "subtract", True, True, True), 256, VALID, isa)


@pytest.mark.parametrize("rule", LIF_RULES.values(), ids=LIF_RULES)
def test_a_stream_gives_the_bits_of_the_sequence(rule: LifRule) -> None:
    x, params, state = lif_operands(rule, 35)
    attrs = lif_attrs(rule)
    whole, last = run_scheduled("lif", attrs, [x, params, state], ISAS[0])
    for t in range(x.shape[1]):
        operands = [x[:, t : t + 1].copy(), params, state, np.ones(1, np.int32)]
        spikes, state = run_scheduled("lif", attrs, operands, ISAS[0])
        np.testing.assert_array_equal(spikes[:, 0], whole[:, t])
    np.testing.assert_array_equal(state, last)
