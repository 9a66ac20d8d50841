"""A device test without its device: a failure where it must run, else skipped; never in silence."""

from __future__ import annotations

import pytest

from fixtures import devices


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millijoule.remote.packages.Need.present", lambda self: False)


def test_fails_where_devices_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MJ_REQUIRE_DEVICES", "1")
    with pytest.raises(pytest.fail.Exception, match=r"apt-get install .* qemu-user"):
        devices.require("qemu:cortex-a72")


@pytest.mark.parametrize("value", ["", "0"])
def test_is_skipped_elsewhere(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MJ_REQUIRE_DEVICES", value)
    with pytest.raises(pytest.skip.Exception, match="needs mmdebstrap; as root: apt-get install"):
        devices.require("mmdebstrap")


def test_nothing_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millijoule.remote.packages.Need.present", lambda self: True)
    devices.require(*devices.EMULATED, "mmdebstrap")
