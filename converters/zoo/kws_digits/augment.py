"""From a trimmed word to a second of sound: rooms, channels, noise, levels and positions.

Everything takes and gives float64 waveforms at 16 kHz. Randomness comes from the generator passed
in, so a seed fixes the result.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

RATE = 16_000
CLIP = RATE  # samples of one clip: a second
MU = 255.0
NOISY = 0.75  # share of training clips with noise

Words = Callable[[], np.ndarray]
"""Draws a random word of the same split, for babble."""


def rms(x: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(x)))) if x.size else 0.0


def change_speed(x: np.ndarray, factor: float) -> np.ndarray:
    """Play ``factor`` times as fast: shifts pitch and formants too, like another speaker."""
    position = np.arange(int(x.size / factor)) * factor
    return np.interp(position, np.arange(x.size), x)


def shape_spectrum(x: np.ndarray, gain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Multiply the spectrum by ``gain(frequency in Hz)``; zero phase."""
    size = 1 << int(np.ceil(np.log2(x.size + RATE // 20)))
    spectrum = np.fft.rfft(x, size) * gain(np.fft.rfftfreq(size, 1 / RATE))
    return np.fft.irfft(spectrum, size)[: x.size]


def band_limit(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Keep ``low`` to ``high`` hertz, with 12th-order edges."""
    return shape_spectrum(
        x, lambda f: 1 / np.sqrt((1 + (low / np.maximum(f, 1)) ** 12) * (1 + (f / high) ** 24))
    )


def tilt(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random smooth microphone response: up to 8 dB at five points of a logarithmic axis."""
    points = np.array([60, 300, 1000, 3000, 8000])
    level = rng.uniform(-8, 8, points.size)
    return shape_spectrum(
        x, lambda f: 10 ** (np.interp(np.log(np.maximum(f, 60)), np.log(points), level) / 20)
    )


def mu_law(x: np.ndarray) -> np.ndarray:
    """Through the 8-bit companding of telephony (ITU-T G.711, its continuous formula)."""
    code = np.sign(x) * np.log1p(MU * np.minimum(np.abs(x), 1)) / np.log1p(MU)
    code = np.round(code * 127) / 127
    return np.sign(code) * np.expm1(np.abs(code) * np.log1p(MU)) / MU


def telephone(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random 8 kHz channel: band limits, often mu-law."""
    high = rng.uniform(3100, 3900)
    x = band_limit(x, rng.uniform(30, 330), high)
    return band_limit(mu_law(x), 20, 3900) if rng.random() < 0.5 else x


def reverberate(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A small room: exponentially decaying noise after the direct sound; 60 dB in 0.1 to 0.45 s."""
    time = np.arange(int(0.25 * RATE)) / RATE
    response = rng.standard_normal(time.size) * np.exp(-6.9 * time / rng.uniform(0.1, 0.45))
    response *= rng.uniform(0.1, 0.6) / np.sqrt(np.sum(response**2))
    response[0] = 1
    size = x.size + time.size - 1
    fast = 1 << int(np.ceil(np.log2(size)))
    return np.fft.irfft(np.fft.rfft(x, fast) * np.fft.rfft(response, fast), fast)[:size]


def coloured_noise(size: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Noise whose power falls with frequency as ``1 / f**slope``: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(rng.standard_normal(size))
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / RATE), 40)
    return np.fft.irfft(spectrum / frequency ** (slope / 2), size)


def babble(size: int, words: Words, rng: np.random.Generator) -> np.ndarray:
    """Several people speaking at once."""
    mix = np.zeros(size)
    for _ in range(rng.integers(6, 14)):
        word = words()[:size]
        start = rng.integers(0, size - word.size + 1)
        mix[start : start + word.size] += word * rng.uniform(0.3, 1) / max(rms(word), 1e-9)
    return mix


def hum(size: int, rng: np.random.Generator) -> np.ndarray:
    """Mains hum with harmonics over faint noise."""
    base, time = rng.choice([50.0, 60.0]), np.arange(size) / RATE
    x = 0.1 * rng.standard_normal(size)
    for k in range(1, 9):
        x += rng.uniform(0, 1) / k * np.sin(2 * np.pi * (base * k * time + rng.random()))
    return x


def noise(size: int, words: Words, rng: np.random.Generator) -> np.ndarray:
    """Noise of a random kind at RMS 1, its level changing slowly half of the time."""
    kind = rng.random()
    if kind < 0.6:
        x = coloured_noise(size, rng.uniform(-0.3, 2.0), rng)
    elif kind < 0.85:
        x = babble(size, words, rng)
    else:
        x = hum(size, rng)
    if rng.random() < 0.5:
        x = x * np.interp(np.linspace(0, 4, size), range(5), rng.uniform(0.3, 1.0, 5))
    return x / max(rms(x), 1e-9)


def place(x: np.ndarray, start: int) -> np.ndarray:
    """Put ``x`` at ``start`` (may be negative) of a silent clip; what is outside is cut."""
    clip = np.zeros(CLIP)
    first, last = max(start, 0), min(start + x.size, CLIP)
    clip[first:last] = x[first - start : last - start]
    return clip


def random_start(size: int, rng: np.random.Generator) -> int:
    """A position at which a word of that size is whole, or as much of it as fits."""
    return int(rng.integers(min(0, CLIP - size), max(0, CLIP - size) + 1))


def finish(clip: np.ndarray) -> np.ndarray:
    """What a 16-bit converter makes of it."""
    return np.clip(np.round(clip * 32768), -32768, 32767) / 32768


def training_clip(
    word: np.ndarray,
    words: Words,
    rng: np.random.Generator,
    lowest_snr: float = 2.0,
    noisy: float = NOISY,
) -> np.ndarray:
    """One training example of a word.

    A share ``noisy`` of examples has noise, from ``lowest_snr`` to 40 dB below the word.
    """
    x = word
    if rng.random() < 0.8:
        x = change_speed(x, np.exp(rng.uniform(np.log(0.82), np.log(1.22))))
    if x.size > CLIP:
        x = change_speed(x, x.size / CLIP * rng.uniform(1.0, 1.15))
    x = x / max(np.abs(x).max(), 1e-9)
    if rng.random() < 0.35:
        x = reverberate(x, rng)
    if rng.random() < 0.5:
        x = tilt(x, rng)
    start = random_start(x.size, rng)
    # A third are short recordings: nothing but zeros after the end, as the front end pads them.
    end = CLIP
    if rng.random() < 0.33:
        if x.size < CLIP:
            start = int(rng.integers(0, min(CLIP - x.size, RATE // 4) + 1))
        end = min(CLIP, start + x.size + int(rng.integers(0, RATE // 5)))
    clip = place(x, start)
    if rng.random() < noisy:
        snr = rng.uniform(lowest_snr, 40)
        clip[:end] += noise(end, words, rng) * rms(x) * 10 ** (-snr / 20)
    if rng.random() < 0.4:
        level = rng.uniform(0.1, 1) / max(np.abs(clip).max(), 1e-9)
        clip[:end] = telephone(clip[:end] * level, rng)
    level = 10 ** (rng.uniform(-30, 0) / 20)
    return finish(clip / max(np.abs(clip).max(), 1e-9) * level)


def warp_bands(x: np.ndarray, low: float, high: float, rng: np.random.Generator) -> np.ndarray:
    """Log-mel ``[frames, bands]`` from ``low`` to ``high`` Hz, of a vocal tract of another length.

    Formants and pitch move by up to 15 %, which unlike :func:`change_speed` leaves durations alone.
    """
    factor = np.exp(rng.uniform(np.log(0.87), np.log(1.15)))
    bands = x.shape[1]
    edges = 1127 * np.log1p(np.array([low, high]) / 700)
    centres = np.linspace(edges[0], edges[1], bands + 2)[1:-1]
    moved = 1127 * np.log1p(np.expm1(centres / 1127) * factor)
    place_of = np.clip((moved - centres[0]) / (centres[1] - centres[0]), 0, bands - 1)
    lower = np.minimum(place_of.astype(int), bands - 2)
    share = place_of - lower
    return x[:, lower] * (1 - share) + x[:, lower + 1] * share


def silence_clip(words: Words, rng: np.random.Generator) -> np.ndarray:
    """A clip without a word: digital silence, noise of any level, or a tone in noise."""
    kind = rng.random()
    if kind < 0.08:
        return np.zeros(CLIP)
    clip = noise(CLIP, words, rng)
    if kind < 0.25:
        sweep = rng.uniform(100, 3500) * np.exp(rng.uniform(-0.7, 0.7) * np.linspace(0, 1, CLIP))
        tone = np.sin(2 * np.pi * np.cumsum(sweep) / RATE)
        first, last = np.sort(rng.integers(0, CLIP, 2))
        tone[:first], tone[last:] = 0, 0
        clip = clip * rng.uniform(0, 0.3) + tone
    if rng.random() < 0.3:
        clip = telephone(clip / np.abs(clip).max(), rng)
    level = 10 ** (rng.uniform(-75, -3) / 20)
    return finish(clip / max(np.abs(clip).max(), 1e-9) * level)


def condition_clip(
    word: np.ndarray, condition: str, words: Words, rng: np.random.Generator
) -> np.ndarray:
    """One example for evaluation.

    ``clean``, ``noisy`` (0 to 20 dB SNR) or ``telephone`` (8 kHz, mu-law, 20 to 40 dB SNR).
    """
    x = word if word.size <= CLIP else change_speed(word, word.size / CLIP)
    x = x / max(np.abs(x).max(), 1e-9)
    clip = place(x, random_start(x.size, rng))
    if condition == "noisy":
        clip += noise(CLIP, words, rng) * rms(x) * 10 ** (-rng.uniform(0, 20) / 20)
    elif condition == "telephone":
        clip += noise(CLIP, words, rng) * rms(x) * 10 ** (-rng.uniform(20, 40) / 20)
        clip = band_limit(clip, rng.uniform(50, 330), rng.uniform(3200, 3800))
        clip = band_limit(mu_law(clip / max(np.abs(clip).max(), 1e-9) * 0.7), 20, 3900)
    elif condition != "clean":
        raise ValueError(f"condition must be clean, noisy or telephone, but is {condition!r}")
    return finish(clip / max(np.abs(clip).max(), 1e-9) * 10 ** (rng.uniform(-20, -1) / 20))
