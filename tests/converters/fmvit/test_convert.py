"""A model folder, of either form, becomes the same deployed program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tvm import relax

import millijoule as mj
from fixtures.fmvit import TINY, random_fmvit, save_fmvit
from fixtures.png import encode
from millijoule.bundle import Bundle
from millijoule.cli import main
from millijoule.converters import convert, list_models
from millijoule.converters.fmvit import deploy
from millijoule.errors import ModelError, UnsupportedError
from millijoule.image import image_frontend


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = [f"thing {index}" for index in range(TINY["num_classes"])]
    return save_fmvit(tmp_path_factory.mktemp("fmvit") / "tiny", random_fmvit(), labels=labels)


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Path:
    out = folder.parent / "tiny.mjb"
    assert main(["build", str(folder), "-o", str(out), "--quiet"]) == 0
    return out


def test_a_bundle_computes_the_training_form(bundle: Path) -> None:
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = random_fmvit()(x).numpy()
    with mj.load(bundle) as session:
        assert [spec.name for spec in session.outputs] == ["logits"]
        np.testing.assert_allclose(session.run({"x": x.numpy()})["logits"], expected, atol=2e-5)
    assert main(["verify", str(bundle)]) == 0


def test_the_manifest_has_the_counts_of_the_deployed_form(bundle: Path) -> None:
    with Bundle.open(bundle) as opened:
        model = opened.manifest.model
        computed = sum(kernel.multiplies for kernel in opened.manifest.kernels)
    assert (model.family, model.variant) == ("fmvit", "custom")
    assert model.parameters == sum(p.numel() for p in deploy(random_fmvit()).parameters())
    assert model.labels is not None
    assert len(model.labels) == 7
    macs = sum(model.reference_macs.values())
    assert model.reference_macs["stages.1.0.attention"] == 2 * 16 * 4 * 24
    # what the kernels multiply beyond the record: means, scores' scale and the like
    assert macs <= computed <= 1.1 * macs


def test_no_norm_is_left_in_the_program(folder: Path) -> None:
    text = convert(folder).module.script()
    assert "batch_norm" not in text
    assert "sqrt" not in text


def test_a_deployed_checkpoint_gives_the_same_program(folder: Path, tmp_path: Path) -> None:
    deployed = save_fmvit(tmp_path / "tiny", deploy(random_fmvit()))
    first, second = convert(folder), convert(deployed)
    np.testing.assert_array_equal(*(m.sample_outputs["logits"] for m in (first, second)))
    assert first.parameters == second.parameters
    assert list(map(_shape, first.module["main"].params)) == [(1, 3, 32, 32)]


def _shape(param: relax.Var) -> tuple[int, ...]:
    return tuple(int(size) for size in param.ty.shape)


def test_a_pyramid_has_four_outputs_and_ignores_the_head(tmp_path: Path) -> None:
    hparams = {**TINY, "outputs": "pyramid"}
    model = convert(save_fmvit(tmp_path / "pyramid", random_fmvit(), hparams), batch=2)
    assert [(name, t.shape) for name, t in model.outputs] == [
        ("c2", (2, 16, 8, 8)),
        ("c3", (2, 32, 4, 4)),
        ("c4", (2, 48, 2, 2)),
        ("c5", (2, 16, 1, 1)),
    ]
    assert "head.fc.weight" in model.ignored_keys


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    hparams: dict[str, Any] = {**TINY, "depths": [1, 1, 3, 1]}
    folder = save_fmvit(tmp_path / "deeper", random_fmvit(), hparams)
    with pytest.raises(ModelError, match=r"tensors are missing: stages\.2\.2\."):
        convert(folder)


def test_a_picture_gives_the_top_labels(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3))
    picture = tmp_path / "photo.png"
    picture.write_bytes(encode(pixels, 2, 8))
    assert main(["run", str(bundle), "--inputs", str(picture), "--top", "2"]) == 0
    shown = capsys.readouterr().out
    x = image_frontend({"kind": "image", "height": 32, "width": 32, "resize": 37})(
        (pixels / 255).astype(np.float32)
    )
    with torch.no_grad():
        best = random_fmvit()(torch.from_numpy(x)[None])[0].topk(2).indices.tolist()
    positions = [shown.index(f"thing {index}") for index in best]
    assert positions == sorted(positions)
    assert shown.count("thing") == 2


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"kind": "image", "height": 16, "width": 32},
            r"must give 3 × 32 × 32 values, but",
        ),
        ({"kind": "log-mel"}, r"frontend: .* kind must be 'image'"),
        (["image"], r"\[config\.json\] frontend"),
    ],
)
def test_a_bad_front_end_is_named(tmp_path: Path, entry: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        convert(save_fmvit(tmp_path / "bad", random_fmvit(), frontend=entry))


def test_there_is_no_step_form(folder: Path) -> None:
    with pytest.raises(UnsupportedError, match="takes whole images"):
        convert(folder, streaming=True)


def test_the_listing_says_that_it_is_a_reconstruction() -> None:
    row = next(row for row in list_models() if row["name"] == "fmvit")
    assert "reconstruction" in row["note"]
    assert row["variants"][:5] == ["t", "s", "m", "b", "l"]
