"""Order statistics and the stability criterion."""

from __future__ import annotations

import numpy as np
import pytest

from millijoule.profiling.stats import median_interval, stability, summarize


def test_summary_of_known_samples() -> None:
    summary = summarize(np.array([4, 1, 3, 2, 5]) * 10**6, (50, 99, 100))
    assert summary["count"] == 5
    assert (summary["min_ms"], summary["max_ms"]) == (1.0, 5.0)
    assert (summary["mean_ms"], summary["median_ms"]) == (3.0, 3.0)
    assert summary["stddev_ms"] == pytest.approx(np.sqrt(2.5))
    assert summary["percentiles_ms"] == {"50": 3.0, "99": pytest.approx(4.96), "100": 5.0}


def test_one_sample() -> None:
    summary = summarize(np.array([7_000_000]), (50,))
    assert summary["median_interval_ms"] == [7.0, 7.0]
    assert summary["stddev_ms"] == 0.0


def test_median_interval_covers_the_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        low, high = median_interval(rng.exponential(size=101))
        hits += low <= np.log(2) <= high
    assert 0.93 <= hits / 400 <= 1.0


def test_steady_samples_are_stable() -> None:
    rng = np.random.default_rng(1)
    verdict = stability(1000 + rng.normal(0, 5, 500))
    assert verdict.stable
    assert verdict.reason == ""
    assert verdict.drift < 0.01
    assert len(verdict.block_medians_ms) == 5
    assert verdict.block_medians_ms[0] == pytest.approx(1e-3, rel=0.01)


def test_drift_is_seen_even_when_the_interval_is_tight() -> None:
    verdict = stability(np.concatenate([np.full(500, 1000.0), np.full(500, 1100.0)]))
    assert not verdict.stable
    assert "drifted by" in verdict.reason
    assert "--duration" in verdict.reason


def test_wide_spread() -> None:
    verdict = stability(np.random.default_rng(2).uniform(500, 1500, 100))
    assert not verdict.stable
    assert "the median is known to ±" in verdict.reason


def test_too_few_samples() -> None:
    assert "only 3 samples" in stability(np.ones(3)).reason
