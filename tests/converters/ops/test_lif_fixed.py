"""``lif_fixed``: reference against naive TIR, against `lif` on the same numbers, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.kernels import run_naive
from fixtures.operands import LIF_RULES, TAILS, VALID, lif_attrs, lif_fixed_operands
from millijoule.converters.ops import VOCABULARY, LifRule, TensorType
from millijoule.converters.ops.lif import lif_reference
from millijoule.converters.ops.lif_fixed import lif_fixed_reference

by_rule = pytest.mark.parametrize("rule", LIF_RULES.values(), ids=LIF_RULES)


@by_rule
@pytest.mark.parametrize("valid", [None, VALID], ids=["always", "gated"])
def test_naive_is_the_reference(rule: LifRule, valid: np.ndarray | None) -> None:
    arrays = lif_fixed_operands(rule, 17)
    gate = [] if valid is None else [valid]
    spikes, state = run_naive("lif_fixed", lif_attrs(rule), [*arrays, *gate])
    expected, last = lif_fixed_reference(*arrays, valid, rule)
    assert 0 < expected.mean() < 1
    assert state.dtype == np.int32
    np.testing.assert_array_equal(spikes, expected)
    np.testing.assert_array_equal(state, last)


@pytest.mark.parametrize("channels", TAILS)
def test_widths(channels: int) -> None:
    arrays = lif_fixed_operands(LifRule(), channels)
    results = run_naive("lif_fixed", lif_attrs(LifRule()), arrays)
    for got, want in zip(results, lif_fixed_reference(*arrays), strict=True):
        np.testing.assert_array_equal(got, want)


@by_rule
def test_it_is_lif_up_to_rounding(rule: LifRule) -> None:
    """The same numbers in float64: potentials differ by a few 2⁻¹⁶, spikes only at a threshold."""
    x, params, state = lif_fixed_operands(rule, 64, steps=5)
    multiplier, right, *rows, synapse = params.astype(np.float64)
    decay = rows[1] / 2**15
    real = np.stack(
        [multiplier * 2.0 ** (-right - 16), rows[0] / 2**16, decay, *(r / 2**16 for r in rows[2:])]
    )
    real = np.concatenate([real, synapse[None] / 2**15])
    expected, last = lif_reference(
        x.astype(np.float64), real, state.astype(np.float64) / 2**16, None, rule
    )
    spikes, kept = lif_fixed_reference(x, params, state, None, rule)
    same = (spikes == expected).all(axis=(0, 1))
    assert same.mean() > 0.95
    # every step rounds at most three times by half a unit; leaks keep the sum below 5 · 3
    assert np.abs(kept / 2**16 - last)[..., same].max() < 15 * 2.0**-16


def test_rounding_is_to_nearest_and_ties_go_up() -> None:
    # x · 1 / 2: ±0.5 and ±1.5 units; no decay, so the state is z
    x = np.array([[[1, -1, 3, -3, 2, -2]]], np.int32)
    params = np.repeat(np.array([[1], [1], [0], [32768], [100], [0], [0]], np.int32), 6, axis=1)
    _, state = lif_fixed_reference(x, params, np.zeros((1, 1, 6), np.int32))
    np.testing.assert_array_equal(state[0, 0], [1, 0, 2, -1, 1, -1])


def test_products_need_more_than_32_bits() -> None:
    rule = LifRule("leak", "none")
    x, state = np.array([[[2**24, -(2**24)]]], np.int32), np.full((1, 1, 2), 2**30, np.int32)
    rows = [2**30, 40, -5, 32767, 2**30, 0, 0]
    params = np.repeat(np.array(rows, np.int32)[:, None], 2, axis=1)
    _, last = run_naive("lif_fixed", lif_attrs(rule), [x, params, state])
    exact = (2**30 * 32767 + 2**14 >> 15) - 5
    np.testing.assert_array_equal(last[0, 0], [exact + 2**14, exact - 2**14])


def test_counts_are_those_of_lif() -> None:
    types = [TensorType((1, 2, 8), "int32"), TensorType((7, 8), "int32")]
    types.append(TensorType((1, 1, 8), "int32"))
    counts = VOCABULARY["lif_fixed"].counts(lif_attrs(LifRule()), types)
    assert (counts.multiplies, counts.adds) == (2 * 16, 3 * 16)
