"""Sample-rate conversion: tones come through, images and aliases do not."""

from __future__ import annotations

import numpy as np
import pytest

from millijoule.audio import resample
from millijoule.errors import UsageError

RATES = [(8_000, 16_000), (22_050, 16_000), (44_100, 16_000), (48_000, 16_000), (16_000, 8_000)]


def tone(hertz: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize(("rate", "target"), RATES)
@pytest.mark.parametrize("hertz", [50, 440, 2_900])
def test_a_tone_keeps_time_and_level(rate: int, target: int, hertz: float) -> None:
    result = resample(tone(hertz, rate), rate, target)
    assert result.dtype == np.float32
    assert result.size == -(-int(rate * 0.5) * target // rate)
    inner = slice(target // 20, -target // 20)
    np.testing.assert_allclose(result[inner], tone(hertz, target)[inner], atol=2e-4)


def test_what_the_lower_rate_cannot_hold_is_removed() -> None:
    assert np.abs(resample(tone(5_500, 16_000), 16_000, 8_000)[100:-100]).max() < 1e-3


def test_upsampling_leaves_the_new_band_empty() -> None:
    noise = 0.3 * np.random.default_rng(0).standard_normal(8_000)
    result = resample(noise, 8_000, 16_000)
    power = np.abs(np.fft.rfft(result * np.hanning(result.size))) ** 2
    hertz = np.fft.rfftfreq(result.size, 1 / 16_000)
    assert power[hertz > 4_300].mean() < 1e-6 * power[hertz < 3_400].mean()


@pytest.mark.parametrize("samples", [0, 1, 2, 7, 40])
def test_short_recordings_and_their_tails(samples: int) -> None:
    result = resample(np.ones(samples), 44_100, 16_000)
    assert result.size == -(-samples * 16_000 // 44_100)
    assert np.isfinite(result).all()


def test_long_recordings_are_worked_in_blocks() -> None:
    x = np.random.default_rng(1).uniform(-1, 1, 60_000)
    whole = resample(x, 8_000, 16_000)
    part = resample(x[10_000:20_000], 8_000, 16_000)
    np.testing.assert_allclose(whole[20_200:39_800], part[200:19_800], atol=1e-6)


def test_the_same_rate_changes_nothing() -> None:
    x = tone(440, 16_000).astype(np.float32)
    assert np.array_equal(resample(x, 16_000, 16_000), x)


@pytest.mark.parametrize("rate", [0, -8_000, 22_050.5, True, "8k", 10**7])
def test_bad_rates_are_usage_errors(rate: object) -> None:
    with pytest.raises(UsageError, match="rate must be a whole number of hertz from 4000"):
        resample(np.zeros(10), rate, 16_000)  # type: ignore[arg-type]
