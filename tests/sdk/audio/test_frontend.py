"""The front end that a manifest describes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from millijoule.audio import LogMel, LogMelFrontend, frontend_from_manifest
from millijoule.errors import UsageError

FEATURES = LogMel(n_mels=32, high_hz=3_800, mean=-6.0, std=3.0)


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.3, 0.3, samples).astype(np.float32)


def test_manifest_round_trip_through_json() -> None:
    frontend = LogMelFrontend(FEATURES, 98)
    entry = json.loads(json.dumps(frontend.to_manifest()))
    assert entry["kind"] == "log-mel"
    assert frontend_from_manifest(entry) == frontend


def test_short_recordings_are_padded_with_silence() -> None:
    frontend = LogMelFrontend(FEATURES, 98)
    x = noise(6_000)
    result = frontend(x, 16_000)
    assert result.shape == (98, 32)
    assert np.array_equal(result[:36], FEATURES(x)[:36])
    silence = np.float32((np.log(FEATURES.floor) + 6.0) / 3.0)
    assert np.all(result[38:] == silence)


def test_long_recordings_are_cut_at_the_end() -> None:
    x = noise(40_000)
    assert np.array_equal(LogMelFrontend(FEATURES, 98)(x, 16_000), FEATURES(x)[:98])
    assert LogMelFrontend(FEATURES)(x, 16_000).shape == (FEATURES.frames_in(40_000), 32)


def test_empty_recording_is_silence() -> None:
    assert LogMelFrontend(FEATURES, 98)(np.zeros(0), 16_000).shape == (98, 32)


def test_other_rates_give_nearly_the_same_features() -> None:
    def second(rate: int) -> np.ndarray:
        time = np.arange(rate) / rate
        return 0.3 * np.sin(2 * np.pi * 700 * time) + 0.2 * np.sin(2 * np.pi * 2_100 * time)

    frontend = LogMelFrontend(FEATURES, 98)
    expected = frontend(second(16_000), 16_000)
    strong = expected > expected.max() - 2  # bands within 26 dB of the loudest
    for rate in (8_000, 22_050, 44_100, 48_000):
        result = frontend(second(rate), rate)
        inner, where = slice(4, -4), strong[4:-4]
        np.testing.assert_allclose(result[inner][where], expected[inner][where], atol=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "mfcc"}, "kind must be 'log-mel', but received 'mfcc'"),
        ({"mels": 40}, "unknown parameter 'mels'; valid ones are sample_rate, n_mels"),
        ({"seq_len": 0}, "seq_len must be a whole number above 0"),
        ({"seq_len": True}, "seq_len must be a whole number above 0"),
        ({"seq_len": 10**13}, "seq_len must be frames of at most 67108864 samples"),
        ({"n_mels": None}, "n_mels must be a whole number"),
    ],
)
def test_bad_entries_are_usage_errors(change: dict, message: str) -> None:
    entry = {**LogMelFrontend(FEATURES, 98).to_manifest(), **change}
    with pytest.raises(UsageError, match=message):
        frontend_from_manifest(entry)


@pytest.mark.parametrize("waveform", [np.array([np.nan] * 800), np.zeros(800, np.int16)])
def test_bad_recordings_are_usage_errors(waveform: np.ndarray) -> None:
    with pytest.raises(UsageError, match="waveform must be"):
        LogMelFrontend(FEATURES, 98)(waveform, 8_000)
