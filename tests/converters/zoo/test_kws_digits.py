"""kws-digits: the weights that ship load, fit a microcontroller and recognize a recorded person."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from millijoule.audio import LogMel, LogMelStream
from millijoule.converters.lmuformer.layers import Lif
from millijoule.converters.ops import lmu_memory
from millijoule.converters.source import resolve_folder
from millijoule.converters.zoo.kws_digits import (
    augment,
    dataset,
    engines,
    evaluate,
    fast_layers,
    fast_lif,
    fitting,
    synthesize,
    teacher,
    train,
    words,
)
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


def test_fast_lif_leaves_subnormal_numbers_alone() -> None:
    """A library linked with -ffast-math would switch them off for the whole process."""
    fast_lif.FastLif(1.0).train()(torch.ones(1, 2, 3))
    assert np.float32(1e-40) / 2 > 0
    assert np.float64(5e-324) * 1 > 0


def test_fast_layers_equal_the_operators() -> None:
    torch.manual_seed(0)
    exact, fast = (train.build_module(CONFIG["variant"], CONFIG["hparams"]) for _ in range(2))
    fast.load_state_dict(exact.state_dict())
    fast_layers.use_fast_layers(fast)
    assert set(fast.state_dict()) == set(exact.state_dict())
    shape = CONFIG["hparams"]["seq_len"], CONFIG["hparams"]["dim"]
    spikes = (torch.rand(3, *shape) > 0.5).float()
    for name, *inputs in [
        ("patch_embed.proj_conv1", spikes),
        ("block.0.attn.proj_conv", spikes, exact.get_submodule("block.0.attn.proj_bn")),
        ("block.0.attn.lmu.W_u", spikes),
    ]:
        pair = [m.get_submodule(name)(*inputs) for m in (exact.train(), fast.train())]
        torch.testing.assert_close(*pair, rtol=0.02, atol=0.02)
        pair = [m.get_submodule(name)(*inputs) for m in (exact.eval(), fast.eval())]
        assert torch.equal(*pair)


def test_fast_memory_equals_the_operator() -> None:
    impulse = torch.randn(20, 6)
    memory, u = fast_layers.FastMemory(impulse), (torch.rand(3, 20) > 0.5).float()
    expected = lmu_memory(u, impulse)
    torch.testing.assert_close(memory(u, None), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(memory(u.requires_grad_(), None), expected, rtol=0.02, atol=0.1)


def test_warped_bands_move_a_formant_and_keep_the_level() -> None:
    x = np.zeros((4, 40))
    x[:, 20] = 1
    peaks = set()
    for seed in range(20):
        warped = augment.warp_bands(x, 60.0, 7600.0, np.random.default_rng(seed))
        assert warped.shape == x.shape
        assert warped.max() > 0.4
        peaks.add(int(warped[0].argmax()))
    assert len(peaks) > 3
    assert min(peaks) < 20 < max(peaks)
    flat = augment.warp_bands(np.full((2, 40), -3.0), 60.0, 7600.0, np.random.default_rng(0))
    np.testing.assert_allclose(flat, -3.0)


def _speech(words_of_voices: dict[str, list[str]]) -> dataset.Speech:
    word = np.array([w for spoken in words_of_voices.values() for w in spoken])
    voice = np.repeat(list(words_of_voices), [len(v) for v in words_of_voices.values()])
    edges = np.arange(len(word) + 1)
    return dataset.Speech(np.zeros(len(word), np.int16), edges[:-1], edges[1:], word, voice, voice)


def test_sampler_draws_every_kind_of_word() -> None:
    spoken = [*words.DIGITS, "hero", "kitchen"]
    sampler = dataset.Sampler(
        _speech({"espeak-a": spoken, "flite-b": spoken * 4, "pico-c": ["one"]})
    )
    rng = np.random.default_rng(0)
    ones = [sampler.draw(1, rng) for _ in range(300)]
    assert {1, 60} < set(ones)
    assert sum(index == 1 for index in ones) < 120  # formant synthesis is the smaller part
    unknown = {sampler.draw(len(words.DIGITS), rng) % 12 for _ in range(50)}
    assert unknown == {10, 11}


def test_crowds_are_drawn_more_often_than_voices_with_as_many_words() -> None:
    sampler = dataset.Sampler(_speech({"crowd-0": ["one"] * 4, "flite-b": ["one"] * 4}))
    rng = np.random.default_rng(0)
    crowd = sum(sampler.draw(1, rng) < 4 for _ in range(400))
    assert 260 < crowd < 340  # three quarters


def test_blends_know_no_held_out_speaker() -> None:
    held_out = synthesize.TEST_SPEAKERS | synthesize.VALIDATION_SPEAKERS
    assert not held_out & set(engines.CROWD)
    blended = {n for v in engines.NATURAL_VOICES if "+" in v.name for n in v.name.split("+")}
    assert not held_out & blended


def test_every_clip_is_used_before_one_is_again() -> None:
    epochs = fitting.batches(100, 50, 10, torch.Generator().manual_seed(0))
    rows = torch.cat([*next(epochs), *next(epochs)])
    assert sorted(rows.tolist()) == list(range(100))


def test_imitating_a_teacher_that_agrees_costs_nothing_more() -> None:
    logits, label = torch.tensor([[4.0, 0.0, 0.0]]), torch.tensor([0])
    alone = fitting.distillation_loss(logits, label, None)
    agreeing = fitting.distillation_loss(logits, label, logits)
    other = fitting.distillation_loss(logits, label, -logits)
    assert agreeing < alone < other


def test_teacher_takes_frames_and_gives_classes() -> None:
    assert teacher.Teacher(40, 11).eval()(torch.zeros(2, 98, 40)).shape == (2, 11)
