"""Concatenations read slices in place, and a stream's window is one kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fixtures.programs import check_built, plan_of
from millijoule.converters import convert
from millijoule.targets import build

GOLDEN = Path(__file__).parents[2] / "goldens" / "lmuformer-spiking-ms-s"


class Joined(nn.Module):
    """Slices at the front, at the end and of all, along one axis."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[self.axis]
        front = x.narrow(self.axis, 0, length - 1)
        end = x.narrow(self.axis, length - 2, 2)
        return torch.cat([end, x * 2, front], self.axis)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_read_in_place(axis: int, tmp_path: Path) -> None:
    x = torch.randn(3, 4, 17)
    check_built(Joined(axis), [x], tmp_path / "m.mjb")
    calls = plan_of(Joined(axis), x).calls
    assert not [call.symbol for call in calls if "slice" in call.symbol]


def test_strided_slices_stay_what_they_are(tmp_path: Path) -> None:
    class Every(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x[:, ::2], x], 1)

    check_built(Every(), [torch.randn(2, 9)], tmp_path / "m.mjb")


def test_windows_of_a_stream_count_their_spikes(tmp_path: Path) -> None:
    """Every spike-driven layer of a stream knows whose spikes drive it, however often it reads."""
    model = convert(GOLDEN, streaming=True)
    with build(model, out=tmp_path / "m.mjb") as bundle:
        layers = [k for k in bundle.manifest.kernels if k.op in ("spike_conv", "spike_linear")]
    driven = {kernel.layer: kernel.spike_input for kernel in layers}
    assert all(driven.values())
    conv = driven["patch_embed.proj_conv1"]
    assert conv is not None
    assert conv.tap == "spikes:patch_embed.proj_lif"
    assert conv.adds_per_spike * model.hparams["dim"] == conv.dense_adds  # if all of them spike
