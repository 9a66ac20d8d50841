"""The authors' models as Core ML packages: the saved program, calculated by our evaluator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from coremltools.optimize._utils import pack_elements_into_bits

import millijoule as mj
from fixtures.binary import BINARY
from fixtures.bundles import assert_same_bytes
from fixtures.graphs import model_of
from fixtures.models import LMUFORMER, STREAMABLE, Golden, build
from millijoule.cli import main
from millijoule.converters.source import read_folder
from millijoule.targets.coreml import coreml_graph
from millijoule.targets.coreml.builder import packed

STREAMS = tuple(g for g in LMUFORMER if read_folder(g.path).variant in STREAMABLE)
EVERY = [(golden, False) for golden in (*LMUFORMER, *BINARY)] + [(g, True) for g in STREAMS[:2]]


@pytest.mark.parametrize(("golden", "streaming"), EVERY, ids=lambda v: getattr(v, "name", str(v)))
def test_verify(golden: Golden, streaming: bool, tmp_path: Path) -> None:
    options = ["--streaming"] if streaming else []
    out = str(tmp_path / "g.mjb")
    build(golden.path, Path(out), "--target", "coreml", *options)
    assert main(["verify", out, "--device", "mil-evaluator", "--quiet"]) == 0


@pytest.mark.parametrize("golden", LMUFORMER[:2], ids=lambda golden: golden.name)
def test_logits(golden: Golden, tmp_path: Path) -> None:
    """On the authors' own inputs."""
    build(golden.path, tmp_path / "g.mjb", "--target", "coreml")
    with mj.load(tmp_path / "g.mjb", device="mil-evaluator") as session:
        got = session.run(golden.inputs)["logits"]
    np.testing.assert_allclose(got, golden.outputs["logits"], rtol=0, atol=1e-5)


def test_float16(tmp_path: Path) -> None:
    """In half precision, as the Neural Engine calculates, within the tolerance that it states."""
    out = str(tmp_path / "g.mjb")
    build(LMUFORMER[0].path, Path(out), "--target", "coreml", "--dtype", "float16")
    assert main(["verify", out, "--device", "mil-evaluator", "--quiet"]) == 0
    with mj.Bundle.open(out) as bundle:
        assert 0 < bundle.manifest.tolerance["logits"] < 0.02


def test_signs_take_a_bit(tmp_path: Path) -> None:
    build(BINARY[0].path, tmp_path / "g.mjb", "--target", "coreml")
    with mj.Bundle.open(tmp_path / "g.mjb") as bundle:
        graph = bundle.manifest.graph
        assert graph is not None
        bits = {layer.stored_bits for layer in graph.layers}
        assert 1 in bits
        weights = [n for n in bundle.manifest.files if n.endswith("weight.bin")]
        # float32 takes 4 bytes a parameter; norms and position embeddings stay what they are
        assert bundle.manifest.files[weights[0]].bytes < bundle.manifest.model.parameters * 4 / 8


def test_weights_of_ios_17(tmp_path: Path) -> None:
    """Signs in one bit, packed into bytes as the older operator reads them."""
    sizes = []
    for target in ("coreml", "coreml-ios17"):
        out = tmp_path / f"{target}.mjb"
        build(BINARY[0].path, out, "--target", target)
        assert main(["verify", str(out), "--device", "mil-evaluator", "--quiet"]) == 0
        with mj.Bundle.open(out) as bundle:
            sizes += [e.bytes for n, e in bundle.manifest.files.items() if n.endswith("weight.bin")]
    assert abs(sizes[0] - sizes[1]) < 0.05 * sizes[0]


def test_numbers_are_stored_once() -> None:
    """A number that a choice falls back on is not spread to the size of the activation."""
    example = torch.randn(1, 64, 256)
    model = model_of(lambda x: torch.where(x > 0, x, 3.0) * 2, example)
    files = coreml_graph(model).files
    assert sum(len(data) for data in files.values()) < example.numel()  # bytes; it has 4 a number


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 65])
def test_packed_indices(bits: int, count: int) -> None:
    """As coremltools itself packs them."""
    indices = np.random.default_rng(count).integers(0, 1 << bits, count).astype(np.uint8)
    np.testing.assert_array_equal(packed(indices, bits), pack_elements_into_bits(indices, bits))


def test_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("a.mjb", "b.mjb"):
        build(LMUFORMER[0].path, tmp_path / name, "--target", "coreml")
    assert_same_bytes(tmp_path / "a.mjb", tmp_path / "b.mjb")


def test_no_mac(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(LMUFORMER[0].path, tmp_path / "g.mjb", "--target", "coreml")
    assert main(["run", str(tmp_path / "g.mjb")]) == 4
    assert "--device mil-evaluator" in capsys.readouterr().err
