"""Conditions on constructed trees and on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from millijoule.profiling import conditions
from millijoule.profiling.conditions import Machine, condition_warnings, record_conditions
from millijoule.profiling.memory import peak_process


def write(root: Path, files: dict[str, str]) -> Machine:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Machine(root)


CPU0 = "sys/devices/system/cpu/cpu0/cpufreq"


def test_a_board_that_says_everything(tmp_path: Path) -> None:
    machine = write(
        tmp_path,
        {
            "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 62.50\n",
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
            f"{CPU0}/scaling_governor": "schedutil\n",
            f"{CPU0}/scaling_cur_freq": "1510400\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "48500\n",
            "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
            "var/lib/nvpmodel/status": "pmode:0000 fmode:quiet\n",
        },
    )
    found = record_conditions(4, ["mj", "profile", "a b.mjb"], machine)
    assert found["cpu_model"] == "NVIDIA Jetson Orin Nano Developer Kit"
    assert found["governor"] == "schedutil"
    assert found["frequency_mhz"] == 1510.4
    assert found["temperatures_c"] == {"cpu-thermal": 48.5}
    assert found["power_mode"] == "pmode:0000 fmode:quiet"
    assert found["command"] == "mj profile 'a b.mjb'"
    assert not found["virtual_machine"]
    assert machine.observe() == {"frequency_mhz": 1510.4, "temperature_c": 48.5}
    assert any("governor is schedutil" in note for note in condition_warnings(found))


def test_x86_names_and_the_hypervisor(tmp_path: Path) -> None:
    text = "processor : 0\nmodel name : Some CPU @ 2 GHz\nflags : fpu hypervisor avx\n"
    machine = write(tmp_path, {"proc/cpuinfo": text})
    assert machine.cpu_model() == "Some CPU @ 2 GHz"
    assert machine.virtual()


def test_a_processor_of_another_kind_is_emulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under user-mode emulation /proc/cpuinfo is that of the machine around the emulator."""
    text = "processor : 0\nvendor_id : AuthenticAMD\nmodel name : Some CPU\n"
    machine = write(tmp_path, {"proc/cpuinfo": text})
    monkeypatch.setattr(conditions, "architecture", lambda: "aarch64")
    found = record_conditions(1, ["x"], machine)
    assert found["cpu_model"] == "emulated aarch64 on Some CPU"
    assert any("processor is emulated" in note for note in condition_warnings(found))
    monkeypatch.setattr(conditions, "architecture", lambda: "x86_64")
    assert not machine.emulated()


def test_a_machine_that_says_nothing(tmp_path: Path) -> None:
    found = record_conditions(1, ["x"], Machine(tmp_path))
    assert found["governor"] is None
    assert found["frequency_mhz"] is None
    assert found["temperatures_c"] == {}
    assert found["cpu_model"]
    json.dumps(found)


def test_peak_memory_of_this_process() -> None:
    figure = peak_process()
    assert figure.value is not None
    assert figure.value > 10e6


def test_peak_memory_from_a_status_file(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t   2048 kB\n")
    assert peak_process(tmp_path / "status").value == 2048 * 1024


def test_peak_memory_without_proc(tmp_path: Path) -> None:
    assert peak_process(tmp_path / "absent").source == "getrusage"
