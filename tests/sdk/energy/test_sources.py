"""--energy auto|SOURCE, and probing everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.power_machines import FakeClock, RaplMachine, add_ina3221, fake_nvml
from millijoule.energy import UnavailableError, list_meters, probe_all, select
from millijoule.errors import DeviceError, UsageError

GPU = {"nvmlDeviceGetTotalEnergyConsumption": [5_000]}


def test_auto_takes_the_cpu_meter_for_a_cpu_program(tmp_path: Path, clock: FakeClock) -> None:
    RaplMachine(tmp_path, clock, {"psys": 50.0, "package-0": 10.0})
    meters = list_meters(tmp_path, fake_nvml(GPU))
    assert select("auto", meters).name == "rapl"
    assert select("auto", meters, runs_on="gpu").name == "nvml"


def test_auto_prefers_the_whole_board(tmp_path: Path, clock: FakeClock) -> None:
    RaplMachine(tmp_path, clock, {"package-0": 10.0})
    add_ina3221(tmp_path, [("VDD_IN", 5000, 1000)])
    assert select("auto", list_meters(tmp_path, fake_nvml(GPU))).name == "jetson"


def test_auto_never_takes_a_gpu_meter_for_a_cpu_program(tmp_path: Path) -> None:
    with pytest.raises(
        UnavailableError, match=r"no meter gives a reading here: jetson: .*; rapl: "
    ) as e:
        select("auto", list_meters(tmp_path, fake_nvml(GPU)))
    assert isinstance(e.value, DeviceError)
    assert e.value.exit_code == 4
    assert e.value.remedy == "mj doctor prints what helps"


def test_a_named_source_is_taken_or_fails(tmp_path: Path) -> None:
    meters = list_meters(tmp_path, fake_nvml(GPU))
    assert select("nvml", meters).name == "nvml"
    assert select("nvml:0", meters).name == "nvml"
    with pytest.raises(UnavailableError, match=r"\[energy\] rapl: .*powercap does not exist"):
        select("rapl", meters)


def test_a_single_rail_by_name(tmp_path: Path) -> None:
    add_ina3221(tmp_path, [("VDD_IN", 5000, 1000), ("VDD_SOC", 5000, 100)])
    assert select("jetson:VDD_SOC", list_meters(tmp_path, fake_nvml({}))).probe() == 0.5


def test_unknown_source_lists_the_valid_ones(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="unknown source 'wattmeter'; use one of: auto, off, jetson"
    ):
        select("wattmeter", list_meters(tmp_path, fake_nvml({})))


def test_probe_all_lists_every_source(tmp_path: Path, clock: FakeClock) -> None:
    RaplMachine(tmp_path, clock, {"package-0": 10.0})
    clock.advance(1.0)
    probes = {p.name: p for p in probe_all(tmp_path, fake_nvml({}))}
    assert list(probes) == ["jetson", "rapl-psys", "rapl", "nvml", "nvml-power"]
    assert probes["rapl"].available
    assert probes["rapl"].reading == pytest.approx(10.0)
    assert probes["rapl"].unit == "J"
    assert not probes["nvml"].available
    assert "jetson" in probes["nvml"].remedy
    assert all(p.available or p.reason for p in probes.values())


def test_this_machine_answers_for_every_source() -> None:
    for probe in probe_all():
        assert probe.available == (probe.reading is not None)
        assert probe.available or probe.reason
