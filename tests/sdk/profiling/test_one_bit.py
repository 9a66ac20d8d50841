"""The papers' count of one-bit operations beside the real one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import millijoule as mj
from fixtures.programs import model_of
from millijoule.cli import main
from millijoule.converters.ops import binarize, binary_linear
from millijoule.profiling.one_bit import one_bit
from millijoule.targets import build


class Layer(nn.Module):
    """64 × 128 signs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        w, alpha = binarize(torch.randn(128, 64))
        self.register_buffer("w", w)
        self.register_buffer("alpha", alpha)
        self.register_buffer("bias", torch.zeros(128))

    def forward(self, x: Tensor) -> Tensor:
        return binary_linear(x, self.w, self.alpha, self.bias)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one-bit") / "layer.mjb"
    model = model_of(Layer(), torch.randn(5, 64))
    model.parameters = 128 * 64 + 128
    build(model, "host", out).close()
    return out


def test_counts_and_sizes(bundle: Path) -> None:
    with mj.load(bundle) as session:
        found = one_bit(session.manifest)
        operations = mj.profile(session, iterations=2, energy="off").to_dict()["operations"]
    assert found is not None
    assert found.binary_ops == operations["totals"]["binary_ops"] == 5 * 64 * 128
    assert found.other_ops == 2 * 5 * 128  # scale and bias
    assert found.as_published == 5 * 128 + 2 * 5 * 128
    assert found.weight_bytes == 128 * 8 + 2 * 4 * 128  # one bit each; scales and biases
    assert operations["one_bit"] == found.to_dict()


def test_inspect_says_it(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(bundle)]) == 0
    assert "40,960 operations count as 640" in " ".join(capsys.readouterr().out.split())


def test_others_have_none(plain: mj.Session) -> None:
    assert one_bit(plain.manifest) is None
