"""kws-digits: the weights that ship load, fit a microcontroller and recognize a recorded person."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from millijoule.audio import LogMel, LogMelStream
from millijoule.converters.lmuformer.layers import Lif
from millijoule.converters.source import resolve_folder
from millijoule.converters.zoo.kws_digits import augment, evaluate, fast_lif, synthesize, words
from millijoule.converters.zoo.kws_digits.evaluate import HERE, load_torch, recognize, recordings
from millijoule.inputs.wav import read_wav

CONFIG = json.loads((HERE / "config.json").read_text(encoding="utf-8"))
CARD = (HERE / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def model() -> tuple:
    return load_torch()


def test_the_zoo_knows_it() -> None:
    assert resolve_folder("kws-digits") == HERE
    assert CONFIG["labels"] == list(words.LABELS)
    assert (HERE / CONFIG["sample"]).is_file()


def test_it_is_small(model: tuple) -> None:
    assert sum(p.numel() for p in model[0].parameters()) <= 150_000
    assert (HERE / "weights.safetensors").stat().st_size <= 1_000_000


def test_front_end_and_model_agree(model: tuple) -> None:
    module, frontend = model
    x = torch.from_numpy(frontend(np.zeros(4_000, np.float32), 8_000)[None])
    with torch.no_grad():
        assert module(x).shape == (1, len(words.LABELS))


def test_recognizes_the_recorded_person_as_the_card_says(model: tuple) -> None:
    module, frontend = model
    paths = recordings()
    assert [path.stem for path in paths] == list(words.DIGITS)
    found = recognize(evaluate.torch_predictor(module), frontend, paths)
    right = sum(r.right for r in found)
    assert right >= 8
    assert f"**{right} of 10** right" in CARD


def test_digital_silence_is_unknown(model: tuple) -> None:
    module, frontend = model
    with torch.no_grad():
        logits = module(torch.from_numpy(frontend(np.zeros(16_000, np.float32), 16_000)[None]))
    assert words.LABELS[int(logits.argmax())] == "unknown"


def test_a_stream_of_samples_gives_the_models_frames(model: tuple) -> None:
    frontend = model[1]
    waveform, rate = read_wav((HERE / "recordings" / "seven.wav").read_bytes())
    samples = evaluate_samples(frontend, waveform, rate)
    stream = LogMelStream(frontend.features)
    frames = np.concatenate([stream.push(part) for part in np.array_split(samples, 37)])
    assert np.array_equal(frames, frontend(waveform, rate))


def evaluate_samples(frontend: object, waveform: np.ndarray, rate: int) -> np.ndarray:
    """What a device would hear: 16 kHz samples of exactly the model's frames."""
    from millijoule.audio import resample

    samples = resample(waveform, rate, 16_000)
    wanted = frontend.features.samples_for(frontend.seq_len)  # type: ignore[attr-defined]
    return np.pad(samples[:wanted], (0, max(0, wanted - samples.size)))


def test_names_of_recordings() -> None:
    assert [evaluate.word_of(name) for name in ("7", "seven", "10", "star")] == [
        "seven",
        "seven",
        "10",
        "star",
    ]
    assert words.label_of("10") == len(words.DIGITS)


def test_no_unknown_word_is_a_digit() -> None:
    assert not set(words.UNKNOWN_WORDS) & {*words.DIGITS, "won", "to", "too", "for", "ate", "oh"}


def test_trim_keeps_the_word_and_its_margin() -> None:
    x = np.zeros(16_000, np.float32)
    x[4_000:8_000] = 0.5
    assert synthesize.trim(x).size == 4_000 + 2 * 480
    assert synthesize.trim(np.zeros(1_000, np.float32)).size == 0


def test_clips_are_reproducible_seconds_of_16_bit_sound() -> None:
    word = np.sin(np.arange(20_000) / 9.0)
    for seed in range(12):
        clips = [
            augment.training_clip(word[: 3_000 + 1_500 * seed], lambda: word, rng)
            for rng in (np.random.default_rng(seed), np.random.default_rng(seed))
        ]
        assert np.array_equal(*clips)
        assert clips[0].shape == (16_000,)
        assert np.array_equal(clips[0] * 32768, np.round(clips[0] * 32768))
        assert np.abs(clips[0]).max() <= 1


def test_telephone_condition_has_no_high_band() -> None:
    rng = np.random.default_rng(0)
    clip = augment.condition_clip(rng.standard_normal(9_000), "telephone", lambda: np.ones(9), rng)
    energy = LogMel()(clip)
    assert energy[:, :28].mean() > energy[:, 34:].mean() + 5


def test_unknown_condition_is_an_error() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="clean, noisy or telephone, but is 'loud'"):
        augment.condition_clip(np.ones(100), "loud", lambda: np.ones(9), rng)


@pytest.mark.parametrize("threshold", [1.0, 0.5])
def test_fast_lif_equals_the_operator(threshold: float) -> None:
    torch.manual_seed(0)
    slow, fast = Lif(threshold).train(), fast_lif.FastLif(threshold)
    x = [(3 * torch.randn(3, 17, 5)).requires_grad_()]
    x.append(x[0].detach().clone().requires_grad_())
    weight = torch.randn(3, 17, 5)
    spikes = [layer(value) for layer, value in zip((slow, fast), x, strict=True)]
    assert torch.equal(*spikes)
    for s in spikes:
        (s * weight).sum().backward()
    torch.testing.assert_close(x[0].grad, x[1].grad, rtol=1e-4, atol=1e-6)
