"""The log-mel front end against the formula, and a stream against the whole recording."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millijoule.audio import LogMel, LogMelStream
from millijoule.errors import UsageError


def speech_like(samples: int, seed: int = 0) -> np.ndarray:
    """A gliding tone that comes and goes over noise, within [-1, 1]."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 16_000
    tone = np.sin(2 * np.pi * (200 + 900 * time) * time) * np.sin(2 * np.pi * 3 * time) ** 2
    return 0.5 * tone + 0.01 * rng.standard_normal(samples)


def reference(waveform: np.ndarray, m: LogMel) -> np.ndarray:
    """The formula of the module, written out: a naive DFT and dense triangles."""
    window = int(m.sample_rate * m.window_ms / 1000)
    shift = int(m.sample_rate * m.shift_ms / 1000)
    bins = np.arange(m.fft // 2 + 1)
    dft = np.exp(-2j * np.pi * np.outer(bins, np.arange(window)) / m.fft)
    hann = np.array([0.5 - 0.5 * np.cos(2 * np.pi * n / (window - 1)) for n in range(window)])

    def mel(hertz: float) -> float:
        return 1127.0 * np.log(1.0 + hertz / 700.0)

    step = (mel(m.high_hz) - mel(m.low_hz)) / (m.n_mels + 1)
    triangles = np.zeros((m.n_mels, bins.size))
    for band in range(m.n_mels):
        centre = mel(m.low_hz) + (band + 1) * step
        for k in bins:
            triangles[band, k] = max(0.0, 1.0 - abs(mel(k * m.sample_rate / m.fft) - centre) / step)
    rows = []
    for first in range(0, waveform.size - window + 1, shift):
        frame = waveform[first : first + window].astype(np.float64)
        before = np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(dft @ ((frame - m.preemphasis * before) * hann)) ** 2
        rows.append((np.log(np.maximum(triangles @ power, m.floor)) - m.mean) / m.std)
    return np.array(rows)


CASES = [
    LogMel(),
    LogMel(n_mels=32, low_hz=125, high_hz=3800, mean=-5.5, std=3.25),
    LogMel(n_mels=20, window_ms=20, shift_ms=20, fft=1024, preemphasis=0.0, floor=1e-9),
    LogMel(sample_rate=8000, n_mels=23, low_hz=0, high_hz=4000, fft=256),
]


@pytest.mark.parametrize("features", CASES)
def test_equals_the_formula(features: LogMel) -> None:
    x = speech_like(4321)
    expected = reference(x, features)
    result = features(x)
    assert result.dtype == np.float32
    assert result.shape == expected.shape == (features.frames_in(x.size), features.n_mels)
    np.testing.assert_allclose(result, expected, rtol=0, atol=2e-6)


def test_one_second_gives_98_frames_and_back() -> None:
    features = LogMel()
    assert features.frames_in(16_000) == 98
    assert features.samples_for(98) == 15_920
    for frames in range(5):
        assert features.frames_in(features.samples_for(frames)) == frames


def test_silence_is_the_floor() -> None:
    features = LogMel(mean=-4.0, std=2.0)
    expected = np.float32((np.log(1e-6) + 4.0) / 2.0)
    assert np.all(features(np.zeros(1000)) == expected)


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_shorter_than_a_window_has_no_frame(samples: int) -> None:
    assert LogMel()(np.zeros(samples)).shape == (0, 40)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 900), min_size=1, max_size=25),
    features=st.sampled_from(CASES),
)
def test_stream_is_bit_identical(sizes: list[int], features: LogMel) -> None:
    x = speech_like(sum(sizes))
    stream = LogMelStream(features)
    pieces = [stream.push(part) for part in np.split(x, np.cumsum(sizes)[:-1])]
    assert np.array_equal(np.concatenate(pieces), features(x))


def test_stream_reset_forgets_the_held_samples() -> None:
    stream, x = LogMelStream(LogMel()), speech_like(1000)
    stream.push(x[:399])
    stream.reset()
    assert stream.push(x[:399]).shape == (0, 40)
    assert np.array_equal(stream.push(x[399:400]), LogMel()(x[:400]))


def test_stream_survives_a_bad_piece() -> None:
    stream, x = LogMelStream(LogMel()), speech_like(800)
    first = stream.push(x[:500])
    with pytest.raises(UsageError, match="sample 2 is nan"):
        stream.push(np.array([0.0, 0.1, np.nan]))
    assert np.array_equal(np.concatenate([first, stream.push(x[500:])]), LogMel()(x))


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros((2, 500)), r"one dimension \(mono\).*\(2, 500\)"),
        (np.zeros(500, np.int16), "floating point.*int16.*32768"),
        (np.array([0.0, np.inf]), "sample 1 is inf"),
        (np.array([0.0, 12_000.0]), r"in \[-1, 1\], but reaches 12000"),
    ],
)
def test_bad_waveforms_are_usage_errors(waveform: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LogMel()(waveform)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_mels": 0}, "n_mels must be 1 to fft"),
        ({"n_mels": 10**10}, "n_mels must be 1 to fft"),
        ({"n_mels": float("inf")}, "n_mels must be a whole number"),
        ({"mean": 10**400}, "mean must be a finite number"),
        ({"fft": 512.0}, "fft must be a whole number"),
        ({"fft": 1 << 40}, "at most 65536"),
        ({"n_mels": 40.5}, "n_mels must be a whole number"),
        ({"n_mels": 200}, "every band must hold an FFT bin"),
        ({"fft": 500}, "power of two of at least the window's 400"),
        ({"fft": 256}, "power of two of at least the window's 400"),
        ({"shift_ms": 30}, "shift_ms must be above 0 and at most window_ms"),
        ({"shift_ms": 0.01}, "frames must hold samples"),
        ({"high_hz": 9000}, "rise from 0 to 8000"),
        ({"low_hz": 7700}, "rise from 0 to 8000"),
        ({"floor": 0}, "floor must be above 0"),
        ({"std": 0}, "std must be above 0"),
        ({"mean": float("nan")}, "mean must be a finite number"),
        ({"mean": "low"}, "mean must be a finite number"),
        ({"preemphasis": 1}, r"preemphasis must be in \[0, 1\)"),
        ({"sample_rate": 100}, "sample_rate must be a whole number of hertz"),
    ],
)
def test_bad_parameters_are_usage_errors(change: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LogMel(**change)
