"""NVML through a fake binding: the counter, power sampling, Tegra's silence."""

from __future__ import annotations

import sys

import pytest

from fixtures.power_machines import FakeClock, fake_nvml
from millijoule.energy import UnavailableError
from millijoule.energy.nvml import NvmlMeter


def test_energy_counter(clock: FakeClock) -> None:
    module = fake_nvml({"nvmlDeviceGetTotalEnergyConsumption": [1_000_000, 1_012_500]})
    with NvmlMeter(module=module).record(background=False, clock=clock) as recording:
        clock.advance(0.5)
    assert recording.energy().joules == pytest.approx(12.5)
    assert recording.energy().uncertainty_j == pytest.approx(2 * 0.1 * 25)


def test_power(clock: FakeClock) -> None:
    module = fake_nvml({"nvmlDeviceGetPowerUsage": [20_000, 40_000]})
    with NvmlMeter(power=True, module=module).record(background=False, clock=clock) as recording:
        clock.advance(2.0)
    assert recording.energy().joules == pytest.approx(60.0)


@pytest.mark.parametrize("power", [False, True])
def test_tegra_starts_and_answers_nothing(power: bool) -> None:
    with pytest.raises(UnavailableError, match=r"Not Supported; on a Jetson use --energy jetson"):
        NvmlMeter(power=power, module=fake_nvml({})).probe()


def test_no_driver() -> None:
    module = fake_nvml({})

    def fail() -> None:
        raise module.NVMLError("Driver Not Loaded")

    module.nvmlInit = fail
    with pytest.raises(UnavailableError, match="NVML: Driver Not Loaded; check the driver"):
        NvmlMeter(module=module).probe()


def test_binding_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(
        UnavailableError, match="not installed; install the extra: pip install nvidia-ml-py"
    ):
        NvmlMeter().probe()


def test_names() -> None:
    names = [NvmlMeter(n, power=p).name for n in (0, 1) for p in (False, True)]
    assert names == ["nvml", "nvml-power", "nvml:1", "nvml-power:1"]
