"""Checkpoints: what is accepted, what is refused and how, and that nothing in them is executed."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fixtures.models import SMALL, random_folder, random_module
from millijoule.cli import main
from millijoule.converters import convert
from millijoule.converters.checkpoint import find_weights, read_checkpoint
from millijoule.errors import ModelError

VARIANT = "psmnist-spiking"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small, valid model folder."""
    return random_folder(tmp_path / "model", VARIANT)


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    """Change the tensors of a folder; ``change`` works in place or returns new ones."""
    file = folder / "weights.safetensors"
    tensors = read_checkpoint(file)
    changed = change(tensors)
    save_file(tensors if changed is None else changed, file)


def logits_of(folder: Path) -> np.ndarray:
    return convert(folder).sample_outputs["logits"]


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
def test_torch_checkpoints(folder: Path, suffix: str, wrapper: str | None) -> None:
    expected = logits_of(folder)
    file = folder / "weights.safetensors"
    tensors: Any = {f"module.{name}": t for name, t in read_checkpoint(file).items()}
    if wrapper:
        tensors = {wrapper: tensors, "epoch": 3, "best": 0.9}
    torch.save(tensors, folder / f"best{suffix}")
    file.unlink()
    np.testing.assert_array_equal(logits_of(folder), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_tensors(folder: Path, dtype: torch.dtype) -> None:
    rewrite(folder, lambda t: {k: v.to(dtype) if v.dim() == 2 else v for k, v in t.items()})
    model = convert(folder)
    assert model.sample_outputs["logits"].dtype == np.float32
    weights = read_checkpoint(folder / "weights.safetensors")
    assert {t.dtype for t in weights.values() if t.is_floating_point()} == {torch.float32}


def test_matrices_that_follow_from_theta_may_be_missing(folder: Path) -> None:
    expected = logits_of(folder)
    rewrite(folder, lambda t: {k: v for k, v in t.items() if k.rsplit(".", 1)[-1] not in "ABH"})
    np.testing.assert_array_equal(logits_of(folder), expected)


def test_keys_that_nobody_needs_are_listed(folder: Path) -> None:
    rewrite(folder, lambda t: t.update({"optimizer.step": torch.ones(1)}))
    assert convert(folder).ignored_keys == ["optimizer.step"]


def drop(key: str) -> Callable[[dict[str, Tensor]], Any]:
    return lambda tensors: {k: v for k, v in tensors.items() if k != key}


def put(key: str, value: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor]], Any]:
    return lambda tensors: {**tensors, key: value(tensors[key]).contiguous()}


def poison(value: float) -> Callable[[Tensor], Tensor]:
    def change(t: Tensor) -> Tensor:
        t = t.clone()
        t.view(-1)[0] = value
        return t

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("lmu_fft.W_h.bias"), "1 tensors are missing: lmu_fft.W_h.bias"),
        (put("classifier.weight", lambda t: t[:, 1:]), r"must have shape \[10, 20\], but has \[10"),
        (put("classifier.weight", poison(float("nan"))), "classifier.weight holds NaN"),
        (put("lmu_fft.W_u.bias", poison(float("inf"))), "lmu_fft.W_u.bias holds NaN or infinite"),
        (put("lmu_fft.H", lambda t: t * 1.01), "lmu_fft.H must follow from theta"),
        (put("lmu_fft.A", lambda t: t.T), "lmu_fft.A must follow from theta"),
    ],
)
def test_bad_tensors_are_named(
    folder: Path, change: Callable[[dict[str, Tensor]], Any], message: str
) -> None:
    rewrite(folder, change)
    with pytest.raises(ModelError, match=message) as caught:
        convert(folder)
    assert "\n" not in str(caught.value)


def test_theta_that_contradicts_the_checkpoint(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["hparams"]["theta"] = 40
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"lmu_fft\.A must follow from theta"):
        convert(folder)


def test_many_missing_tensors_make_a_short_message(folder: Path) -> None:
    save_file({"x": torch.ones(1)}, folder / "weights.safetensors")
    with pytest.raises(ModelError, match=r"tensors are missing: .* and \d+ more"):
        convert(folder)


class _Bomb:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._path),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_is_never_executed(
    folder: Path, tmp_path: Path, legacy: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "weights.safetensors").unlink()
    exploded = tmp_path / "exploded"
    if legacy:
        (folder / "model.pth").write_bytes(pickle.dumps({"state_dict": _Bomb(exploded)}))
    else:
        torch.save({"state_dict": _Bomb(exploded)}, folder / "model.pth")
    with pytest.raises(ModelError, match="not a readable checkpoint of tensors"):
        convert(folder)
    assert not exploded.exists()
    assert main(["build", str(folder), "-o", str(tmp_path / "x.mjb"), "--quiet"]) == 3
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["weights.safetensors", "model.pth", "model.bin"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x02}q\x00.", b"PK\x03\x04"])
def test_damaged_files(folder: Path, name: str, content: bytes) -> None:
    (folder / "weights.safetensors").unlink()
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError):
        convert(folder)


def test_truncated_files(folder: Path) -> None:
    file = folder / "weights.safetensors"
    torch.save(read_checkpoint(file), folder / "model.pth")
    for source in (file, folder / "model.pth"):
        whole = source.read_bytes()
        source.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ModelError, match=source.name):
            read_checkpoint(source)


def test_a_folder_without_or_with_several_checkpoints(folder: Path) -> None:
    (folder / "weights.safetensors").rename(folder / "a.pth")
    (folder / "b.pth").write_bytes(b"")
    with pytest.raises(ModelError, match=r"but holds: a\.pth, b\.pth"):
        find_weights(folder)
    (folder / "a.pth").unlink()
    (folder / "b.pth").unlink()
    with pytest.raises(ModelError, match="but holds: none"):
        find_weights(folder)


def test_state_dicts_have_the_authors_keys() -> None:
    """So a module trained here and one trained with the authors' code are the same checkpoint."""
    keys = set(random_module(VARIANT, SMALL[VARIANT]).state_dict())
    assert keys == {
        "lmu_fft.A",
        "lmu_fft.B",
        "lmu_fft.H",
        "lmu_fft.W_u.weight",
        "lmu_fft.W_u.bias",
        "lmu_fft.W_h.weight",
        "lmu_fft.W_h.bias",
        "classifier.weight",
        "classifier.bias",
    }
