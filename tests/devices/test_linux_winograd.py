"""Winograd's form on an emulated Cortex-A72: every plan in one model, beside direct sums."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import millijoule as mj
from fixtures.devices import require
from millijoule.targets.kernels.conv.shape import ConvShape
from millijoule.targets.kernels.conv.winograd.rule import choose_form
from millijoule.targets.passes import conv
from millijoule.targets.target import Isa

CORE = "cortex-a72"
FORMS = [4, 4, 2]


def outputs_and_instructions(
    model: nn.Module, x: torch.Tensor, path: Path
) -> tuple[list[np.ndarray], int]:
    """Outputs of one and of two threads, and instructions of one."""
    mj.build(mj.convert(model, example_inputs=(x,)), target=CORE, out=path).close()
    outputs = []
    for threads in (1, 2):
        with mj.load(path, device=f"qemu:{CORE}", threads=threads) as session:
            outputs += session.run({session.inputs[0].name: x.numpy()}).values()
            if threads == 1:
                instructions = mj.profile(session).to_dict()["instructions"]["per_call"]
    return outputs, instructions


def test_beside_direct_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of every thread's own and shared ones, tails of channels, tiles cut at the border."""
    require(f"qemu:{CORE}")
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(16, 48, 3, padding=1),  # each thread has rounds of its own
        nn.ReLU(),
        nn.Conv2d(48, 100, 3, padding=1),  # shared ones; 4 columns in the last block
        nn.AvgPool2d(2),
        nn.Conv2d(100, 128, 3),
    ).eval()
    x = torch.randn(1, 16, 30, 27)
    forms = []

    def spy(shape: ConvShape, isa: Isa) -> int:
        forms.append(choose_form(shape, isa))
        return forms[-1]

    monkeypatch.setattr(conv, "choose_form", spy)
    (alone, together), fewer = outputs_and_instructions(model, x, tmp_path / "winograd.mjb")
    assert forms == FORMS
    monkeypatch.setattr(conv, "choose_form", lambda *_: 0)
    (direct, _), more = outputs_and_instructions(model, x, tmp_path / "direct.mjb")
    np.testing.assert_array_equal(alone, together)
    with torch.no_grad():
        want = model(x).numpy()
    # outputs of at most 0.4; both forms were seen to err by up to 4e-7
    np.testing.assert_allclose(direct, want, rtol=0, atol=1e-6)
    np.testing.assert_allclose(alone, want, rtol=0, atol=1e-6)
    assert fewer < 0.45 * more
