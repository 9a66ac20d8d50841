"""What a source may be, and how a bad one is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.models import SMALL, random_folder
from millijoule.audio import frontend_from_manifest
from millijoule.converters import convert
from millijoule.converters.lmuformer import read_hparams
from millijoule.converters.source import read_folder, read_sample, resolve_folder
from millijoule.errors import ModelError, UnsupportedError, UsageError
from millijoule.inputs.wav import read_wav
from millijoule.npz import read_npy


def folder_with(tmp_path: Path, config: str | dict[str, Any]) -> Path:
    text = config if isinstance(config, str) else json.dumps(config)
    (tmp_path / "config.json").write_text(text)
    return tmp_path


GOOD: dict[str, Any] = {"family": "lmuformer", "variant": "plain", "hparams": SMALL["plain"]}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[]", "must be a JSON object"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), "is not valid JSON"),
        (" " * ((1 << 20) + 1), "is larger than"),
        ({"variant": "plain", "hparams": {}}, "'family' must be a str"),
        ({"family": "lmuformer", "hparams": {}}, "'variant' must be a str"),
        ({"family": "lmuformer", "variant": "plain"}, "'hparams' must be a dict"),
        ({**GOOD, "family": 3}, "'family' must be a str, but is 3"),
        ({**GOOD, "family": "gpt"}, "family must be one of lmuformer.*but is 'gpt'"),
        ({**GOOD, "variant": "small"}, "variant must be one of plain.*but is 'small'"),
    ],
)
def test_bad_configs(tmp_path: Path, config: str | dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        convert(folder_with(tmp_path, config))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["dim", "in_channels", "seq_len", "num_classes"])
def test_missing_hparams_are_named(name: str) -> None:
    values = {k: v for k, v in SMALL["plain"].items() if k != name}
    with pytest.raises(ModelError, match=rf"hparams\.{name} is missing"):
        read_hparams("plain", values)


@pytest.mark.parametrize("value", [0, -1, 1.5, "16", True, 10_000_000, [16]])
def test_bad_hparams_are_named(value: object) -> None:
    with pytest.raises(ModelError, match=r"hparams\.dim must be a positive integer"):
        read_hparams("plain", {**SMALL["plain"], "dim": value})


@pytest.mark.parametrize("value", [0, -2.5, "4", float("nan"), float("inf")])
def test_bad_real_hparams_are_named(value: object) -> None:
    with pytest.raises(ModelError, match=r"hparams\.mlp_ratio must be a positive number"):
        read_hparams("plain", {**SMALL["plain"], "mlp_ratio": value})


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ModelError, match="dim must be a multiple of num_heads"):
        read_hparams("spiking-attention", {**SMALL["spiking-attention"], "num_heads": 3})


def test_defaults() -> None:
    small = SMALL["plain"]
    plain, spiking = read_hparams("plain", small), read_hparams("spiking-ms", small)
    assert (plain.theta, plain.memory_size, plain.depth) == (24, 16, 1)
    assert spiking.memory_size == 32
    assert read_hparams("plain", {**small, "color": "red"}) == plain


def test_names_that_mean_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a zoo name \(.*\), but is 'no-such-model'"):
        resolve_folder("no-such-model")
    with pytest.raises(ModelError, match=r"must hold config\.json"):
        read_folder(tmp_path)


def test_a_model_is_called_what_its_config_or_its_folder_says(tmp_path: Path) -> None:
    assert read_folder(folder_with(tmp_path, {**GOOD, "name": "ears"})).name == "ears"
    assert read_folder(folder_with(tmp_path, {**GOOD, "name": ""})).name == tmp_path.name


def test_options_of_convert(tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "m", "psmnist-spiking")
    with pytest.raises(UsageError, match="batch must be at least 1, but is 0"):
        convert(folder, batch=0)
    with pytest.raises(UnsupportedError, match="float16 or int8, but is 'float64'"):
        convert(folder, dtype="float64")
    assert convert(folder, dtype="int8").dtype == "int8"
    model = convert(folder, batch=3, name="pixels")
    assert model.name == "pixels"
    assert model.inputs[0][1].shape == (3, 49, 1)
    assert model.sample_outputs["logits"].shape == (3, 10)


def test_attention_over_the_sequence_has_no_stream(tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "m", "spiking-attention")
    with pytest.raises(UnsupportedError, match=r"attends over the whole sequence.*spiking-ms"):
        convert(folder, streaming=True)


@pytest.mark.parametrize(
    ("sample", "decode", "message"),
    [
        ("none.wav", np.frombuffer, r"sample 'none.wav' cannot be read: No such file"),
        (".", np.frombuffer, "sample '.' cannot be read"),
        ("a\0b", np.frombuffer, "is no input of this model: embedded null byte"),
        ("config.json", lambda data: read_wav(data)[0], "is no input of this model: not a WAV"),
        ("config.json", lambda _: frontend_from_manifest(7), "kind must be 'log-mel'"),
        (
            "config.json",
            lambda _: np.zeros((3, 4)),
            r"of shape \[3, 5\], but gives \[3, 4\]; check",
        ),
    ],
)
def test_samples_that_do_not_fit(
    sample: str, decode: Callable[[bytes], np.ndarray], message: str, tmp_path: Path
) -> None:
    config = {"family": "f", "variant": "", "hparams": {}, "sample": sample}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=message) as caught:
        read_sample(read_folder(tmp_path), decode, (3, 5))
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_sample_has_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"family": "f", "variant": "", "hparams": {}}')
    assert read_sample(read_folder(tmp_path), read_npy, (1,)) is None
