"""Regression checks: real, inconclusive, and incomparable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millijoule.errors import UsageError, VerificationError
from millijoule.profiling import check, compare, load_profile


def fake(median: float, spread: float = 0.01, **changes: Any) -> dict[str, Any]:
    return {
        "format": "millijoule-profile",
        "schema": 1,
        "unit": "one program call, batch 1",
        "bundle": {
            "model": {"name": "m", "family": "f", "variant": changes.get("variant", "v")},
            "target": {"name": "host", "dtype": "float32"},
        },
        "conditions": {
            "cpu_model": "A",
            "threads": changes.get("threads", 1),
            "governor": None,
            "power_mode": None,
        },
        "latency": {
            "median_ms": median,
            "min_ms": changes.get("fastest", 0.9 * median),
            "median_interval_ms": [median * (1 - spread), median * (1 + spread)],
            "stability": {"block_medians_ms": [median * x for x in changes.get("blocks", [1.0])]},
        },
    }


def test_within_the_limit() -> None:
    result = check(fake(1.04), fake(1.0))
    assert result.ratio == pytest.approx(1.04)
    assert not result.regressed
    assert not result.inconclusive


def test_a_real_regression_fails_with_exit_code_1() -> None:
    with pytest.raises(VerificationError, match=r"1\.100× the baseline") as info:
        check(fake(1.1), fake(1.0))
    assert info.value.exit_code == 1


def test_noise_is_inconclusive() -> None:
    result = check(fake(1.1, spread=0.2), fake(1.0, spread=0.2))
    assert result.inconclusive
    assert not result.regressed
    assert result.low < 1 < result.high
    assert "inconclusive" in str(result)


def test_drift_during_a_run_is_no_regression() -> None:
    result = check(fake(1.2, blocks=[0.8, 1.0, 1.1]), fake(1.0))
    assert result.inconclusive


def test_a_busier_machine_is_no_regression() -> None:
    result = check(fake(1.6, fastest=0.9), fake(1.0))
    assert result.inconclusive
    assert result.floor == pytest.approx(1.0)


def test_a_wider_limit_lets_it_pass() -> None:
    assert not check(fake(1.1), fake(1.0), max_regression=0.2).regressed


def test_other_circumstances_are_named() -> None:
    assert compare(fake(1, threads=4), fake(1)).notes == ("threads is 4 now and was 1",)


def test_another_model_is_refused() -> None:
    with pytest.raises(UsageError, match="model must be the same"):
        compare(fake(1, variant="w"), fake(1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a profile"),
        ('{"format": "other"}', "is not a profile"),
        ('{"format": "millijoule-profile", "schema": 9}', "schema 9"),
        ('{"format": "millijoule-profile", "schema": 1, "latency": 3}', "no bundle, conditions, "),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_profile(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        load_profile(tmp_path / "absent.json")


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    sections = {"cold_start": {}, "energy": {}, "memory": {}}
    path.write_text(json.dumps({**fake(1 / 3), **sections}))
    assert load_profile(path)["latency"]["median_ms"] == 1 / 3
