"""The measurement method on a machine with known power."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.power_machines import FakeClock, RaplMachine, add_ina3221
from millijoule.energy import measure
from millijoule.energy.jetson import JetsonMeter
from millijoule.energy.measurement import default_idle_s, recommended_window_s
from millijoule.energy.rapl import RaplMeter


@pytest.fixture
def machine(tmp_path: Path, clock: FakeClock) -> RaplMachine:
    return RaplMachine(tmp_path, clock, {"package-0": 4.0, "package-0/core": 1.0})


def test_energy_above_idle(machine: RaplMachine, clock: FakeClock) -> None:
    def workload() -> int:
        machine.watts = {"package-0": 14.0, "package-0/core": 9.0}
        clock.advance(10.0)
        machine.watts = {"package-0": 4.4, "package-0/core": 1.0}
        return 1000

    result = measure(
        RaplMeter(machine.powercap),
        workload,
        idle_seconds=5.0,
        background=False,
        clock=clock,
        sleep=clock.advance,
    )
    assert result.energy_mj.value == pytest.approx(140.0)
    assert result.energy_mj.uncertainty == pytest.approx(2 * 1e-3 * 14.0)
    assert result.energy_mj.window_s == pytest.approx(10.0)
    assert result.power_w.value == pytest.approx(14.0)
    assert result.idle_before_w.value == pytest.approx(4.0)
    assert result.idle_after_w.value == pytest.approx(4.4)
    assert result.net_energy_mj.value == pytest.approx(140.0 - 42.0)
    assert result.net_energy_mj.idle_w == pytest.approx(4.2)
    # Edge of the window + (half the drift + edges of the idle windows) · T, per run.
    edges_w = (2 * 1e-3 * 4.0 / 5 + 2 * 1e-3 * 4.4 / 5) / 2
    assert result.net_energy_mj.uncertainty == pytest.approx(0.028 + (0.2 + edges_w) * 10)
    assert result.channels_mj["package-0/core"].value == pytest.approx(90.0)
    assert any("drifted from 4 W to 4.4 W" in w for w in result.warnings)


def test_no_baseline_no_net_energy(machine: RaplMachine, clock: FakeClock) -> None:
    def workload() -> int:
        clock.advance(1.0)
        return 2

    meter = RaplMeter(machine.powercap)
    result = measure(meter, workload, idle_seconds=0, background=False, clock=clock)
    assert result.energy_mj.value == pytest.approx(2000.0)
    assert result.net_energy_mj.status == "unavailable"
    assert result.net_energy_mj.unit == "mJ"
    assert result.warnings == []


def test_short_window_on_a_slow_meter_is_called_out(tmp_path: Path, clock: FakeClock) -> None:
    add_ina3221(tmp_path, [("VDD_IN", 5000, 1000)])

    def workload() -> int:
        clock.advance(0.1)
        return 1

    meter = JetsonMeter(tmp_path)
    result = measure(meter, workload, idle_seconds=0, background=False, clock=clock)
    assert result.energy_mj.uncertainty == pytest.approx(2 * 0.1 * 5000)
    assert result.warnings == [
        "energy is uncertain by 200%: the window was 0.1 s at 100 ms per reading; "
        "use --duration 20 for 1 %"
    ]


def test_windows_follow_the_meter(tmp_path: Path) -> None:
    assert recommended_window_s(JetsonMeter(tmp_path)) == pytest.approx(20.0)
    assert recommended_window_s(RaplMeter(tmp_path)) == pytest.approx(0.2)
    assert default_idle_s(JetsonMeter(tmp_path)) == pytest.approx(5.0)
    assert default_idle_s(RaplMeter(tmp_path)) == pytest.approx(2.0)
