"""The table of devices: what runs where, and what is said where it does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import millijoule as mj
from fixtures.tiny_model.build import build_tiny
from millijoule import doctor
from millijoule.cli import main
from millijoule.errors import DeviceError, UsageError
from millijoule.executors import CHECKERS
from millijoule.remote import DEVICES, get_device
from millijoule.remote.counting import plugin_api
from millijoule.remote.devices import require_target
from millijoule.remote.packages import NEEDS, apt_line, missing
from millijoule.targets.target import NAMES, get_target


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without emulators and cross compilers."""
    for need in NEEDS.values():
        assert need.package
    monkeypatch.setattr("millijoule.remote.packages.Need.present", lambda self: False)


def test_every_arm_target_has_its_device() -> None:
    targets = {name for name in NAMES if name.startswith(("cortex", "armv7"))}
    emulated = {d.name for d in DEVICES.values() if d.emulated}
    assert emulated == {*(f"qemu:{name}" for name in targets), "qemu:jetson"}
    targets |= {name for name in NAMES if name.startswith("jetson")}
    for device in DEVICES.values():
        if device.name in CHECKERS:
            assert {get_target(t).kind for t in device.targets} == {CHECKERS[device.name][0]}
            continue
        assert set(device.targets) <= targets
        assert set(device.needs) <= set(NEEDS)


@pytest.mark.parametrize(
    ("device", "target", "advice"),
    [
        ("qemu:cortex-m4", "cortex-m7", "use --device qemu:cortex-m7"),
        ("qemu:cortex-a53", "cortex-a72", "use --device qemu:cortex-a72"),
        ("qemu:cortex-a72", "host", "run it without --device"),
    ],
)
def test_a_wrong_pair_is_refused(device: str, target: str, advice: str) -> None:
    with pytest.raises(DeviceError, match=advice) as raised:
        require_target(get_device(device), target)
    assert f"this one is for {target}" in str(raised.value)


def test_newer_cores_run_programs_of_older_ones() -> None:
    require_target(get_device("qemu:cortex-a76"), "cortex-a53")


def test_unknown_device(tmp_path: Path) -> None:
    path = build_tiny(tmp_path / "tiny.mjb")
    with pytest.raises(UsageError, match=r"must be one of local, .*, but received 'pi'"):
        mj.load(path, device="pi")


def test_a_bundle_of_this_machine_on_a_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = build_tiny(tmp_path / "tiny.mjb")
    assert main(["verify", str(path), "--device", "qemu:cortex-m4"]) == 4
    message = capsys.readouterr().err.strip()
    assert "runs bundles for cortex-m4, but this one is for host" in message
    assert len(message.splitlines()) == 1


@pytest.mark.usefixtures("nothing_installed")
def test_missing_packages_come_with_one_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DeviceError, match=r"apt-get install --no-install-recommends .*newlib"):
        get_device("qemu:cortex-m4").require()
    assert main(["devices", "--json", "-"]) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed["local"]["available"]
    assert not listed["qemu:cortex-m4"]["available"]
    assert "qemu-system-arm" in listed["qemu:cortex-m4"]["remedy"]
    assert main(["devices"]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last == "to get the missing ones, as root: " + apt_line(
        {package for device in DEVICES.values() for package in device.missing()}
    )
    found = [f for f in doctor.diagnose() if f.name.startswith("devices:")]
    assert len(found) == 3
    assert not any(finding.ok for finding in found)
    assert all("qemu-user" in finding.remedy for finding in found)


def test_packages_are_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert missing(["qemu-arm", "qemu-aarch64", "qemu-system-arm"]) == [
        "qemu-system-arm",
        "qemu-user",
    ]
    monkeypatch.delenv("MJ_CC_ARM_NONE_EABI", raising=False)
    assert missing(["gcc-arm-none-eabi"]) == ["gcc-arm-none-eabi"]
    monkeypatch.setenv("MJ_CC_ARM_NONE_EABI", "my-gcc")
    assert missing(["gcc-arm-none-eabi"]) == []


@pytest.mark.parametrize(
    ("version", "api"),
    [("7.2.22", 1), ("8.2.2", 1), ("9.0.1", 2), ("9.1.0", 3), ("10.0.2", 3)],
)
def test_plugin_interface_by_version(version: str, api: int) -> None:
    assert plugin_api(version) == api
