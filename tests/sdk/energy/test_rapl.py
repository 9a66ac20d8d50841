"""RAPL on constructed powercap trees: exact joules, wrap-around, no double counting, refusals."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fixtures.power_machines import FakeClock, RaplMachine
from millijoule.energy import UnavailableError
from millijoule.energy.rapl import UDEV_RULE, RaplMeter

SERVER = {
    "package-0": 40.0,
    "package-0/core": 25.0,
    "package-0/uncore": 3.0,
    "package-0/dram": 5.0,
    "package-1": 50.0,
    "package-1/core": 30.0,
    "package-1/dram": 7.0,
    "psys": 150.0,
}


def test_packages_and_dram_add_up_and_children_do_not(tmp_path: Path, clock: FakeClock) -> None:
    machine = RaplMachine(tmp_path, clock, SERVER)
    meter = RaplMeter(machine.powercap)
    with meter.record(background=False, clock=clock) as recording:
        clock.advance(2.0)
    energy = recording.energy()
    assert energy.joules == pytest.approx(2 * (40 + 5 + 50 + 7), abs=1e-9)
    assert energy.channels["package-0/core"] == pytest.approx(50.0)
    assert energy.uncertainty_j == pytest.approx(2 * 1e-3 * 102)
    assert meter.covers == (
        "CPU package-0 + package-0/dram + package-1 + package-1/dram; board excluded"
    )


def test_counter_wrap(tmp_path: Path, clock: FakeClock) -> None:
    machine = RaplMachine(tmp_path, clock, {"package-0": 10.0}, wrap=65_000_000)
    machine.start_at("package-0", 64_999_000)
    meter = RaplMeter(machine.powercap)
    with meter.record(background=False, clock=clock) as recording:
        clock.advance(3.0)
        recording.sample()
        clock.advance(5.0)
    assert recording.energy().joules == pytest.approx(80.0, abs=1e-9)


def test_platform_zone_is_a_meter_of_its_own(tmp_path: Path, clock: FakeClock) -> None:
    meter = RaplMeter(RaplMachine(tmp_path, clock, SERVER).powercap, platform=True)
    with meter.record(background=False, clock=clock) as recording:
        clock.advance(1.0)
    assert recording.energy().joules == pytest.approx(150.0)
    assert [channel.name for channel in meter.channels()] == ["psys"]


def test_probe_reads_the_counters(tmp_path: Path, clock: FakeClock) -> None:
    machine = RaplMachine(tmp_path, clock, {"package-0": 10.0, "package-0/core": 5.0})
    clock.advance(1.5)
    assert RaplMeter(machine.powercap).probe() == pytest.approx(15.0)


def test_permission_denied_names_the_udev_rule(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = RaplMachine(tmp_path, clock, {"package-0": 10.0})
    counter = machine.paths["package-0"] / "energy_uj"
    counter.chmod(0)
    if os.geteuid() == 0:  # root reads everything: let the kernel's answer come from here
        real = Path.read_text

        def refuse(path: Path, *args: str, **kwargs: str) -> str:
            if path == counter:
                raise PermissionError(13, "Permission denied")
            return real(path, *args, **kwargs)

        monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(UnavailableError, match="permission denied") as info:
        RaplMeter(machine.powercap).probe()
    assert UDEV_RULE in info.value.remedy
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("garbage", ["", "abc", "-5", "12.5", "99999999999999999999"])
def test_garbage_in_the_counter(tmp_path: Path, clock: FakeClock, garbage: str) -> None:
    machine = RaplMachine(tmp_path, clock, {"package-0": 10.0})
    (machine.paths["package-0"] / "energy_uj").write_text(garbage)
    with pytest.raises(UnavailableError, match="energy_uj holds"):
        RaplMeter(machine.powercap).probe()


@pytest.mark.parametrize("missing", ["name", "energy_uj", "max_energy_range_uj"])
def test_missing_file(tmp_path: Path, clock: FakeClock, missing: str) -> None:
    machine = RaplMachine(tmp_path, clock, {"package-0": 10.0})
    (machine.paths["package-0"] / missing).unlink()
    with pytest.raises(UnavailableError, match=f"{missing} does not exist"):
        RaplMeter(machine.powercap).probe()


def test_range_of_zero(tmp_path: Path, clock: FakeClock) -> None:
    machine = RaplMachine(tmp_path, clock, {"package-0": 10.0})
    (machine.paths["package-0"] / "max_energy_range_uj").write_text("0\n")
    with pytest.raises(UnavailableError, match="max_energy_range_uj holds 0"):
        RaplMeter(machine.powercap).probe()


def test_no_powercap(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="does not exist; RAPL needs Linux on a physical"):
        RaplMeter(tmp_path / "absent").probe()


def test_tree_without_packages(tmp_path: Path, clock: FakeClock) -> None:
    machine = RaplMachine(tmp_path, clock, {"psys": 10.0})
    with pytest.raises(UnavailableError, match="no RAPL zone named package"):
        RaplMeter(machine.powercap).probe()


def test_zone_ten_comes_after_zone_two(tmp_path: Path, clock: FakeClock) -> None:
    machine = RaplMachine(tmp_path, clock, {f"package-{n}": 1.0 for n in range(11)})
    names = [channel.name for channel in RaplMeter(machine.powercap).channels()]
    assert names == [f"package-{n}" for n in range(11)]
