"""Profiles to report on."""

from __future__ import annotations

import copy
from typing import Any

import pytest

import millijoule as mj
from fixtures.tiny_model.build import build_tiny
from millijoule.energy import Figure


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A profile of the tiny streaming model, taken once."""
    path = build_tiny(tmp_path_factory.mktemp("report") / "tiny.mjb", "streaming")
    with mj.load(path) as session:
        return mj.profile(session, duration=0.05, energy="off").to_dict()


@pytest.fixture
def profile(measured: dict[str, Any]) -> dict[str, Any]:
    """A copy that the test may change."""
    return copy.deepcopy(measured)


@pytest.fixture
def complete(profile: dict[str, Any]) -> dict[str, Any]:
    """The same with every optional section present."""

    def watts(value: float) -> dict[str, Any]:
        return Figure.measured(value, "W", "rapl").to_dict()

    def millijoules(value: float, bound: float | None = None) -> dict[str, Any]:
        details = {"uncertainty": bound, "window_s": 3.0, "interval_s": 1e-3}
        return Figure.measured(value, "mJ", "rapl", **details).to_dict()

    profile["energy"]["measured"] = {
        "source": "rapl",
        "covers": "CPU package-0; board excluded",
        "runs": 1000,
        "readings": 4,
        "warnings": [],
        "energy_mj": millijoules(4.2, 0.5),
        "net_energy_mj": millijoules(2.1, 0.6),
        "power_w": watts(21.0),
        "idle_before_w": watts(10.0),
        "idle_after_w": watts(10.5),
        "channels_mj": {"package-0": millijoules(4.2), "package-0/core": millijoules(3.0)},
    }
    profile["real_time"] = {
        "frame_shift_ms": 10.0,
        "factor": Figure.measured(0.25, "1", "median step time / frame shift").to_dict(),
    }
    windows = [
        {"t_s": float(i), "count": 9, "median_ms": 1.0 + 0.01 * i, "p99_ms": 2.0, "max_ms": 3.0}
        for i in range(30)
    ]
    windows[0] |= {"frequency_mhz": 1500.0, "temperature_c": 48.5}
    profile["sustained"] = {"status": "measured", "windows": windows, "slowdown": 0.25}
    return profile
