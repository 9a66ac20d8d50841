"""The authors' models as ``.tflite``: built, verified and run under LiteRT on this machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import millijoule as mj
from fixtures.binary import BINARY
from fixtures.graphs import run_litert
from fixtures.models import LMUFORMER, STREAMABLE, Golden, build
from millijoule.cli import main
from millijoule.converters.source import read_folder
from millijoule.targets.litert import litert_graph

STREAMS = tuple(g for g in LMUFORMER if read_folder(g.path).variant in STREAMABLE)
EVERY = [(golden, False) for golden in (*LMUFORMER, *BINARY)] + [(g, True) for g in STREAMS]


@pytest.mark.parametrize(("golden", "streaming"), EVERY, ids=lambda v: getattr(v, "name", str(v)))
def test_verify(golden: Golden, streaming: bool, tmp_path: Path) -> None:
    options = ["--streaming"] if streaming else []
    build(golden.path, tmp_path / "g.mjb", "--target", "litert", *options)
    assert main(["verify", str(tmp_path / "g.mjb"), "--quiet"]) == 0


@pytest.mark.parametrize("golden", LMUFORMER, ids=lambda golden: golden.name)
def test_spikes_and_logits(golden: Golden) -> None:
    """On the authors' own inputs: every spike theirs, logits within 1e-5."""
    model = mj.convert(golden.path, batch=len(golden.inputs["x"]))
    got = run_litert(litert_graph(model, show=["lif"]).data, golden.inputs)
    np.testing.assert_allclose(got["logits"], golden.outputs["logits"], rtol=0, atol=1e-5)
    for name, expected in golden.spikes().items():
        np.testing.assert_array_equal(got[name].reshape(expected.shape), expected, name)


@pytest.mark.parametrize("golden", BINARY, ids=lambda golden: golden.name)
def test_binary_models(golden: Golden) -> None:
    """Every attention map theirs, floats within 1e-4, signs in two bits."""
    model = mj.convert(golden.path)
    got = run_litert(litert_graph(model, show=["binary_attention"]).data, model.sample_inputs)
    for name, expected in model.sample_outputs.items():
        atol = 0 if expected.dtype == np.uint8 else 1e-4
        np.testing.assert_allclose(got[name], expected, rtol=0, atol=atol, err_msg=name)


def test_two_bits_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(BINARY[0].path, tmp_path / "g.mjb", "--target", "litert")
    with mj.Bundle.open(tmp_path / "g.mjb") as bundle:
        graph = bundle.manifest.graph
        assert graph is not None
        assert {layer.stored_bits for layer in graph.layers} >= {2, 32}


def test_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Latency is measured; times per operator, which LiteRT does not tell, are not made up."""
    build(LMUFORMER[0].path, tmp_path / "g.mjb", "--target", "litert", "--dtype", "float16")
    with mj.load(tmp_path / "g.mjb") as session:
        profile = mj.profile(session, duration=0.1, energy="off")
    assert profile.to_dict()["latency"]["median_ms"] > 0
    assert profile.to_dict()["layers"] is None
