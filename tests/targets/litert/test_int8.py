"""int8 programs under LiteRT: dense layers and convolutions along time with sums exact in int32.

Expected outputs are those of the naive integer program, which `mj verify` compares with.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import millijoule as mj
from fixtures.matrix_models import ENTRIES
from fixtures.models import LMUFORMER, STREAMABLE, build
from millijoule.cli import main
from millijoule.converters.source import read_folder
from millijoule.verification import verify

PLAIN, SPIKING = LMUFORMER[0], LMUFORMER[1]


@pytest.mark.parametrize("streaming", [False, True])
def test_golden(streaming: bool, tmp_path: Path) -> None:
    """As near as another order of float sums allows, a hundredth of what int8 itself errs by."""
    assert read_folder(PLAIN.path).variant in STREAMABLE
    out = tmp_path / "m.mjb"
    options = ["--streaming"] if streaming else []
    build(PLAIN.path, out, "--target", "litert", "--dtype", "int8", *options)
    with mj.load(out) as session:
        checks = {check.name: check for check in verify(session)}
        record = session.manifest.quantization
        graph = session.manifest.graph
    assert record is not None
    assert graph is not None
    assert all(check.passed for check in checks.values())
    error = record["accuracy"]["outputs"]["logits"]["max_error"]
    assert checks["logits"].max_abs_error <= error / 100
    assert {"int8", "int32"} <= {layer.computes for layer in graph.layers}
    assert 8 in {layer.stored_bits for layer in graph.layers}


class Convolution(nn.Module):
    """A convolution along time of [B, C, N]."""

    def __init__(self, taps: int, padding: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(5, 6, taps, padding=padding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, 5, N] → [B, 6, …]."""
        return self.conv(x)


@pytest.mark.parametrize(("taps", "padding", "steps"), [(1, 0, 1), (3, 1, 16), (4, 0, 17)])
def test_convolutions(taps: int, padding: int, steps: int, tmp_path: Path) -> None:
    """One layer: the integers are the same, so floats differ by the rounding of scale and bias."""
    torch.manual_seed(taps)
    model = mj.convert(Convolution(taps, padding), example_inputs=[torch.randn(2, 5, steps)])
    mj.build(model, target="litert", out=tmp_path / "m.mjb", dtype="int8").close()
    with mj.load(tmp_path / "m.mjb") as session:
        x, expected = session.bundle.samples()
        got = session.run(x)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=0, atol=2e-6)


def test_models_from_files(tmp_path: Path) -> None:
    """Whose importer returns a bare tensor: on a CPU the very integers, under LiteRT as near."""
    entry = next(entry for entry in ENTRIES if entry.row.name == "onnx")
    model = entry.model(tmp_path)
    for target in ("host", "litert"):
        mj.build(model, target=target, out=tmp_path / "m.mjb", dtype="int8").close()
        with mj.load(tmp_path / "m.mjb") as session:
            assert all(check.passed for check in verify(session))
            assert session.manifest.quantization is not None


def test_neurons_are_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "m.mjb"
    options = ["--target", "litert", "--dtype", "int8", "-o", str(out)]
    assert main(["build", str(SPIKING.path), *options]) == 3
    assert (
        "lif_fixed of layer 'patch_embed.proj_lif' has no integer form" in capsys.readouterr().err
    )
    assert not out.exists()
