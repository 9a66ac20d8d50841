"""fmvit-digits: what the card says, and the same answers before and after deployment."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import millijoule as mj
from millijoule.cli import main
from millijoule.converters.checkpoint import load_weights, read_checkpoint
from millijoule.converters.fmvit import FmVit, build_module
from millijoule.converters.fmvit.convert import load_folder
from millijoule.converters.source import read_folder, resolve_folder
from millijoule.converters.zoo.fmvit_digits import dataset, train

HERE = train.HERE
CARD = (HERE / "README.md").read_text(encoding="utf-8")
Held = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def held_out() -> Held:
    images, labels = dataset.load()
    assert len(images) == 1797
    frontend = dataset.frontend_of(read_folder(HERE).config["frontend"])
    return dataset.prepare(dataset.split(images)[1], frontend), dataset.split(labels)[1]


@pytest.fixture(scope="module")
def training_form() -> FmVit:
    folder = read_folder(HERE)
    module = build_module(folder.variant, folder.hparams).eval()
    load_weights(module, read_checkpoint(HERE / "weights.safetensors"), "weights", frozenset())
    return module


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("digits") / "digits.mjb"
    assert main(["build", "fmvit-digits", "-o", str(out), "--quiet"]) == 0
    return out


def test_the_zoo_knows_it_and_it_is_small() -> None:
    assert resolve_folder("fmvit-digits") == HERE
    assert (HERE / "weights.safetensors").stat().st_size <= 1_000_000
    module, ignored = load_folder(read_folder(HERE))
    assert ignored == []
    assert f"{sum(p.numel() for p in module.parameters()):,} parameters" in CARD


def test_answers_are_the_same_before_and_after_deployment(
    held_out: Held, training_form: FmVit, bundle: Path
) -> None:
    x, labels = held_out
    deployed, _ = load_folder(read_folder(HERE))
    with torch.no_grad():
        before = training_form(torch.from_numpy(x)).numpy()
        fused = deployed(torch.from_numpy(x)).numpy()
    with mj.load(bundle) as session:
        built = session.run({"x": x})["logits"]
    np.testing.assert_allclose(fused, before, atol=2e-5)
    np.testing.assert_allclose(built, before, atol=5e-5)  # logits of up to about 5, summed anew
    answers = [y.argmax(1) for y in (before, fused, built)]
    assert np.array_equal(answers[0], answers[1])
    assert np.array_equal(answers[0], answers[2])
    right = int((answers[0] == labels).sum())
    assert right >= 350
    assert f"**{right} of 360**" in CARD


def test_a_picture_is_read(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(bundle)]) == 0
    capsys.readouterr()
    assert main(["run", str(bundle), "--inputs", str(HERE / "seven.png"), "--top", "1"]) == 0
    assert re.search(r"^ *0 +7 ", capsys.readouterr().out, re.MULTILINE)


def test_training_is_reproducible_and_changes_every_weight() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.random((9, 1, 32, 32), np.float32))
    y = torch.arange(9)
    models = [train.train(x, y, epochs=4, seed=1) for _ in range(2)]
    pairs = zip(*(m.state_dict().values() for m in models), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    torch.manual_seed(1)
    folder = read_folder(HERE)
    fresh = dict(build_module(folder.variant, folder.hparams).named_parameters())
    for name, weight in models[0].named_parameters():
        assert torch.isfinite(weight).all()
        assert not torch.equal(weight, fresh[name]), name


def test_a_batch_of_one_is_left_out() -> None:
    sizes = [len(part) for part in train.batches(129, torch.Generator().manual_seed(0))]
    assert sizes == [64, 64]


def test_augmentation_keeps_shape_and_moves_things() -> None:
    x = torch.zeros(16, 1, 32, 32)
    x[:, :, 12:20, 12:20] = 1
    rng = torch.Generator().manual_seed(0)
    moved = train.augment(x, rng)
    assert moved.shape == x.shape
    assert 0.4 < float(moved.sum() / x.sum()) < 1.8
    assert float((moved - x).abs().amax((1, 2, 3)).min()) > 0.1
