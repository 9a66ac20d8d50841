"""Comparing instruction counts: exact, so every difference is real."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from millijoule.errors import UsageError, VerificationError
from millijoule.profiling import check, compare


def profile(per_call: float, **layers: float) -> dict[str, Any]:
    """What a comparison looks at."""
    return {
        "bundle": {
            "model": {"name": "m", "family": "f", "variant": "v"},
            "target": {"name": "cortex-m4", "dtype": "int8"},
        },
        "unit": "one program call, batch 1",
        "conditions": {
            "cpu_model": "cortex-m4",
            "threads": 1,
            "governor": None,
            "power_mode": None,
        },
        "latency": {"value": None, "status": "unavailable"},
        "instructions": {
            "per_call": per_call,
            "calls": 3,
            "layers": [{"name": name, "instructions": n} for name, n in layers.items()],
        },
    }


OLD = profile(1000.0, a=600.0, b=300.0)


def test_growth_beyond_the_limit_is_a_regression() -> None:
    new = profile(1060.0, a=630.0, b=330.0, c=20.0)
    with pytest.raises(VerificationError, match=r"1.0600×.*; a grew most, by 30.0$"):
        check(new, OLD)
    result = check(new, OLD, 0.06)
    assert not result.regressed
    assert result.ratio == pytest.approx(1.06)


def test_less_is_no_regression() -> None:
    result = compare(profile(900.0, a=500.0, b=300.0), OLD)
    assert not result.regressed
    assert "grew" not in str(result)


def test_notes_name_other_set_ups() -> None:
    other = copy.deepcopy(OLD)
    other["bundle"]["target"]["name"] = "cortex-m7"
    assert compare(OLD, other).notes == ("target is cortex-m4 now and was cortex-m7",)


@pytest.mark.parametrize("first", [True, False], ids=["new", "old"])
def test_time_and_instructions_do_not_compare(first: bool) -> None:
    timed = {k: v for k, v in OLD.items() if k != "instructions"}
    pair = (timed, OLD) if first else (OLD, timed)
    with pytest.raises(UsageError, match="both must be of an emulated device or both of hardware"):
        compare(*pair)


def test_other_inputs_do_not_compare() -> None:
    other = copy.deepcopy(OLD)
    other["instructions"]["calls"] = 4
    with pytest.raises(UsageError, match="this profile has 3 calls and the baseline 4"):
        compare(OLD, other)
