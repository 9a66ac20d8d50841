"""Jetson rails of each board generation on constructed sysfs trees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.power_machines import FakeClock, add_ina238, add_ina3221, add_ina3221x
from millijoule.energy import UnavailableError
from millijoule.energy.jetson import JetsonMeter, find_rails


def orin_nano(root: Path) -> None:
    add_ina3221(
        root, [("VDD_IN", 5000, 1200), ("VDD_CPU_GPU_CV", 5000, 400), ("VDD_SOC", 5000, 300)]
    )


def agx_orin(root: Path) -> None:
    add_ina3221(
        root, [("VDD_GPU_SOC", 19000, 300), ("VDD_CPU_CV", 19000, 100), ("VIN_SYS_5V0", 5000, 900)]
    )
    add_ina3221(root, [("NC", 0, 77), ("VDDQ_VDD2_1V8AO", 5000, 150), ("NC", 9, 9)], "1-0041", 1)


def thor_module(root: Path) -> None:
    add_ina3221(
        root,
        [("VDD_GPU", 20000, 500), ("VDD_CPU_SOC_MSS", 20000, 325), ("VIN_SYS_5V0", 5000, 1300)],
    )


def thor(root: Path) -> None:
    thor_module(root)
    add_ina238(root, 41_500_000)


def thor_without_label(root: Path) -> None:
    thor_module(root)
    add_ina238(root, 41_500_000, label=None)


def nano(root: Path) -> None:
    add_ina3221x(root, [("POM_5V_IN", 4200), ("POM_5V_GPU", 900), ("POM_5V_CPU", 1100)])


def agx_xavier(root: Path) -> None:
    add_ina3221x(root, [("GPU", 1000), ("CPU", 2000), ("SOC", 1500)], 0)
    add_ina3221x(root, [("CV", 100), ("VDDRQ", 400), ("SYS5V", 2500)], 1)


@pytest.mark.parametrize(
    ("board", "watts", "covers"),
    [
        (orin_nano, 6.0, "module input VDD_IN, carrier board excluded"),
        (agx_orin, 5.7 + 1.9 + 4.5, "AGX Orin: sum of the module rails, carrier board excluded"),
        (thor, 41.5, "Thor: system input VIN, carrier board included"),
        (thor_without_label, 41.5, "VIN"),
        (thor_module, 10.0 + 6.5 + 6.5, "Thor without INA238"),
        (nano, 4.2, "board input POM_5V_IN"),
        (agx_xavier, 7.5, "AGX Xavier"),
    ],
)
def test_total_of_each_board(
    tmp_path: Path, board: Callable[[Path], None], watts: float, covers: str
) -> None:
    board(tmp_path)
    meter = JetsonMeter(tmp_path)
    assert meter.probe() == pytest.approx(watts)
    assert covers in meter.covers


def test_channels_not_connected_and_the_shunt_sum_are_no_rails(tmp_path: Path) -> None:
    agx_orin(tmp_path)
    assert [rail.name for rail in find_rails(tmp_path)] == [
        "VDD_GPU_SOC",
        "VDD_CPU_CV",
        "VIN_SYS_5V0",
        "VDDQ_VDD2_1V8AO",
    ]


def test_energy_of_the_total_and_of_every_rail(tmp_path: Path, clock: FakeClock) -> None:
    orin_nano(tmp_path)
    current = tmp_path / "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon0/curr1_input"
    with JetsonMeter(tmp_path).record(background=False, clock=clock) as recording:
        clock.advance(1.0)
        recording.sample()
        current.write_text("2200\n")
        clock.advance(1.0)
    energy = recording.energy()
    assert energy.joules == pytest.approx(6.0 + (6.0 + 11.0) / 2)
    assert energy.channels["VDD_SOC"] == pytest.approx(3.0)


def test_one_rail(tmp_path: Path) -> None:
    orin_nano(tmp_path)
    meter = JetsonMeter(tmp_path, "VDD_SOC")
    assert meter.probe() == pytest.approx(1.5)
    assert (meter.name, meter.covers) == ("jetson:VDD_SOC", "rail VDD_SOC only")


def test_unknown_rail_lists_those_present(tmp_path: Path) -> None:
    orin_nano(tmp_path)
    with pytest.raises(
        UnavailableError, match="no rail VDD_X; the rails here are VDD_IN, VDD_CPU_GPU_CV"
    ):
        JetsonMeter(tmp_path, "VDD_X").probe()


def test_unknown_board_has_no_total(tmp_path: Path) -> None:
    add_ina3221(tmp_path, [("VDD_NEW", 5000, 100), ("VDD_ODD", 5000, 100)])
    with pytest.raises(
        UnavailableError, match="not known; measure one rail with --energy jetson:VDD_NEW"
    ):
        JetsonMeter(tmp_path).probe()


def test_agx_orin_with_a_rail_missing_has_no_total(tmp_path: Path) -> None:
    add_ina3221(tmp_path, [("VDD_GPU_SOC", 19000, 300), ("VIN_SYS_5V0", 5000, 900)])
    with pytest.raises(UnavailableError, match="not known"):
        JetsonMeter(tmp_path).probe()


@pytest.mark.parametrize("garbage", ["", "n/a", "1.5"])
def test_garbage(tmp_path: Path, garbage: str) -> None:
    orin_nano(tmp_path)
    (tmp_path / "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon0/curr2_input").write_text(garbage)
    with pytest.raises(UnavailableError, match="curr2_input holds"):
        JetsonMeter(tmp_path).probe()


def test_missing_current(tmp_path: Path) -> None:
    orin_nano(tmp_path)
    (tmp_path / "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon0/curr1_input").unlink()
    with pytest.raises(UnavailableError, match="curr1_input does not exist"):
        JetsonMeter(tmp_path).probe()


def test_repeated_rail_names(tmp_path: Path) -> None:
    orin_nano(tmp_path)
    add_ina3221(tmp_path, [("VDD_IN", 5000, 1200)], "1-0041", 1)
    with pytest.raises(UnavailableError, match="rail names repeat"):
        JetsonMeter(tmp_path).probe()


def test_no_jetson(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no INA3221 or INA238"):
        JetsonMeter(tmp_path).probe()


def test_negative_offset_of_an_idle_rail_is_kept(tmp_path: Path) -> None:
    add_ina3221(tmp_path, [("VDD_GPU", 20000, -20), ("VDD_CPU_SOC_MSS", 20000, 195)])
    assert JetsonMeter(tmp_path, "VDD_GPU").probe() == pytest.approx(-0.4)
