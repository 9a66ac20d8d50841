"""bivit-digits and bibert-debian: small, as accurate as their cards say, deployed as trained."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import millijoule as mj
from fixtures.models import build
from fixtures.shared import shared
from millijoule.cli import main
from millijoule.converters.binary import build_module
from millijoule.converters.binary.tensors import unpack
from millijoule.converters.checkpoint import find_weights, load_weights, read_checkpoint
from millijoule.converters.source import read_folder, resolve_folder
from millijoule.converters.zoo.bibert_debian import dataset as debian
from millijoule.converters.zoo.bibert_debian.train import accuracy as debian_accuracy
from millijoule.converters.zoo.bivit_digits import dataset as digits
from millijoule.converters.zoo.bivit_digits.train import accuracy as digits_accuracy
from millijoule.converters.zoo.bivit_digits.train import shifted
from millijoule.converters.zoo.packed import save_packed
from millijoule.inputs import read_texts

NAMES = ("bivit-digits", "bibert-debian")
MAX_BYTES = 1_500_000


def trained(name: str) -> nn.Module:
    """The module with the weights that ship."""
    folder = read_folder(resolve_folder(name))
    weights = find_weights(folder.path)
    tensors = unpack(read_checkpoint(weights), weights.name)
    module = build_module(folder.family, folder.variant, folder.hparams)
    assert load_weights(module, tensors, weights.name, frozenset()) == []
    return module.eval()


def in_card(name: str) -> float:
    """The held-out accuracy in a model card."""
    card = (resolve_folder(name) / "README.md").read_text(encoding="utf-8")
    match = re.search(r"\| \*\*held out\*\* \| [\d,]+ \| ([\d.]+) % \|", card)
    assert match
    return float(match[1])


@pytest.fixture(scope="module")
def digits_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared(tmp_path_factory, "digits.mjb", lambda p: build(Path("bivit-digits"), p))


@pytest.fixture(scope="module")
def debian_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared(tmp_path_factory, "debian.mjb", lambda p: build(Path("bibert-debian"), p))


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_small(name: str) -> None:
    assert (resolve_folder(name) / "weights.safetensors").stat().st_size <= MAX_BYTES


def test_digits_are_read_as_the_card_says_before_and_after(digits_bundle: Path) -> None:
    module = trained("bivit-digits")
    _, (x, y) = digits.load()
    before = digits_accuracy(module, x, y)
    with mj.load(digits_bundle) as session:
        chosen = session.run({"x": x.numpy()})["logits"].argmax(-1)
    assert np.mean(chosen == y.numpy()) == pytest.approx(before, abs=1e-12)
    assert round(100 * before, 1) == in_card("bivit-digits")


def test_packages_are_sorted_as_the_card_says_before_and_after(debian_bundle: Path) -> None:
    module, rows = trained("bibert-debian"), debian.read_held_out()
    before = debian_accuracy(module, rows)
    with mj.load(debian_bundle) as session:
        inputs = read_texts([text for text, _ in rows], session.bundle)
        chosen = session.run(inputs)["logits"].argmax(-1)
    labels = np.array([label for _, label in rows])
    assert np.mean(chosen == labels) == pytest.approx(before, abs=1e-12)
    assert round(100 * before, 1) == in_card("bibert-debian")


def test_a_text_or_a_file_of_texts(
    debian_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(debian_bundle), "--quiet"]) == 0
    text = "scalable font for the screen"
    assert main(["run", str(debian_bundle), "--inputs", text, "--top", "1"]) == 0
    assert re.search(r"0 +fonts +\S+ +0\.\d+", capsys.readouterr().out)
    texts = tmp_path / "t.txt"
    texts.write_text(f"{text}\n\nmail transport agent\n", encoding="utf-8")
    assert main(["run", str(debian_bundle), "--inputs", str(texts), "--top", "1"]) == 0
    assert re.search(r"(?s)0 +fonts.*1 +mail", capsys.readouterr().out)
    texts.write_bytes(b"\xff\xfe")
    assert main(["run", str(debian_bundle), "--inputs", str(texts)]) == 2
    assert main(["run", str(debian_bundle), "--inputs", str(tmp_path / "none.txt")]) == 2
    capsys.readouterr()


def test_index_of_packages() -> None:
    index = """Package: a
Source: s (1.0)
Section: games
Description: a game
Filename: pool/main/a.deb

Package: b
Section: games
Description: a game
Filename: pool/main/b.deb

Package: c
Section: games
Description: not free
Filename: pool/non-free/c.deb

Package: d
Section: libs
Description: a library
Filename: pool/main/d.deb
"""
    assert list(debian.rows(index)) == [("s", "a game", debian.LABELS.index("games"))]
    held = [debian.is_held_out(f"source{i}") for i in range(500)]
    assert 60 < sum(held) < 140


def test_images() -> None:
    (x, y), (held_x, held_y) = digits.load()
    assert (len(x), len(held_x), len(held_y)) == (1437, 360, 360)
    assert x.shape[1:] == (1, digits.SIDE, digits.SIDE)
    assert y.unique().tolist() == list(range(10))
    moved = shifted(x[:4], torch.Generator().manual_seed(0))
    assert moved.shape == x[:4].shape
    assert not torch.equal(moved, x[:4])
    still = shifted(x[:1], torch.Generator(), reach=0)
    torch.testing.assert_close(still, x[:1], rtol=0, atol=0)


def test_packing_keeps_what_a_model_computes(tmp_path: Path) -> None:
    hparams = {"img_size": 8, "patch_size": 4, "in_chans": 1, "num_classes": 3, "embed_dim": 30}
    module = build_module("bivit", "vit", {**hparams, "depth": 1, "num_heads": 2}).eval()
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = module(x)["logits"]
        after = save_packed(module, tmp_path / "w.safetensors")(x)["logits"]
    # scales are means of equal numbers now: a last bit may differ
    torch.testing.assert_close(after, before, rtol=0, atol=1e-4)
    size = (tmp_path / "w.safetensors").stat().st_size
    assert size < sum(p.numel() * 4 for p in module.parameters()) / 2
