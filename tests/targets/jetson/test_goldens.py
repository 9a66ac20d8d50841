"""The authors' models for Jetson: the CUDA source emulated, launched by the C runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

import millijoule as mj
from fixtures.models import GOLDENS
from millijoule.cli import main

# whole sequences of both neurons and attention, a stream, and the binary families
EVERY = [
    ("lmuformer-psmnist-spiking-s", False),
    ("lmuformer-attn-ms-s", False),
    ("lmuformer-spiking-ms-s", True),
    ("bivit-a", False),
    ("bipft-ft-a", False),
]


@pytest.mark.parametrize(("name", "streaming"), EVERY)
def test_verify(name: str, streaming: bool, tmp_path: Path) -> None:
    """Spikes and maps exactly, logits within the model's tolerance, which is 1e-4 or less."""
    out = tmp_path / "g.mjb"
    model = mj.convert(GOLDENS / name, streaming=streaming)
    with mj.build(model, "jetson-orin", out) as bundle:
        manifest = bundle.manifest
    assert max(manifest.tolerance.values()) <= 1e-4
    assert manifest.cuda is not None
    assert manifest.cuda.sms == (87,)
    assert {launch.call for launch in manifest.cuda.launches} == set(range(len(manifest.kernels)))
    assert main(["verify", str(out), "--device", "cuda-emulator", "--quiet"]) == 0
