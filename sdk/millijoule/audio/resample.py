"""Sample-rate conversion with a polyphase windowed-sinc filter, in NumPy.

The output sample at time ``n / target`` is the input, low-passed at 95 % of the lower of the two
Nyquist frequencies, read at that time. Only the taps that meet a non-zero sample of the up-sampled
signal are evaluated (Crochiere & Rabiner, "Multirate Digital Signal Processing", 1983, chapter 2).
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd

import numpy as np

from millijoule.errors import UsageError

MIN_RATE = 4_000
MAX_RATE = 384_000

_ZERO_CROSSINGS = 16  # of the sinc on either side
_KAISER_BETA = 8.0  # about 80 dB of stop-band attenuation
_ROLL_OFF = 0.95  # cut-off below Nyquist, so that the transition band does not alias audibly
_BLOCK = 1 << 14  # output samples filtered at a time, which bounds the gathered window


def check_rate(rate: int, name: str = "rate") -> int:
    """Return ``rate`` as an int; raise :class:`UsageError` unless whole and usable."""
    whole = int(rate) if isinstance(rate, int | np.integer) and not isinstance(rate, bool) else -1
    if not MIN_RATE <= whole <= MAX_RATE:
        raise UsageError(
            f"[audio] {name} must be a whole number of hertz from {MIN_RATE} to {MAX_RATE}, "
            f"but received {rate!r}; give the sample rate of the recording"
        )
    return whole


@lru_cache(maxsize=8)
def _polyphase_taps(up: int, down: int) -> np.ndarray:
    """Filter bank float64 ``[up, taps]``: row ``p`` is for output phase ``p``, newest tap first."""
    cutoff = _ROLL_OFF / max(up, down)
    half = int(np.ceil(_ZERO_CROSSINGS / cutoff))
    half += -half % up  # a whole number of input samples, so that every phase has the same delay
    time = np.arange(-half, half)
    taps = up * cutoff * np.sinc(cutoff * time) * np.kaiser(2 * half + 1, _KAISER_BETA)[:-1]
    bank = taps.reshape(-1, up).T
    # Every phase passes 0 Hz with gain 1: a constant stays a constant, without ripple.
    return np.ascontiguousarray(bank / bank.sum(axis=1, keepdims=True))


def resample(waveform: np.ndarray, rate: int, target: int) -> np.ndarray:
    """Convert a mono waveform from one whole sample rate to another.

    Args:
        waveform: real ``[samples]``.
        rate: its sample rate in hertz.
        target: the wanted sample rate in hertz.

    Returns:
        float32 ``[ceil(samples * target / rate)]``; sample 0 stays at time 0 (no delay).

    Raises:
        UsageError: a rate that is no whole number from 4000 to 384000.
    """
    rate, target = check_rate(rate), check_rate(target, "target rate")
    samples = np.asarray(waveform, dtype=np.float64)
    if rate == target or samples.size == 0:
        return samples.astype(np.float32)
    common = gcd(rate, target)
    up, down = target // common, rate // common
    bank = _polyphase_taps(up, down)
    taps = bank.shape[1]
    padded = np.pad(samples, taps)
    position = np.arange(-(-samples.size * up // down)) * down
    result = np.empty(position.size, dtype=np.float32)
    back = taps + taps // 2 - np.arange(taps)
    for start in range(0, position.size, _BLOCK):
        block = position[start : start + _BLOCK]
        window = padded[(block // up)[:, None] + back]
        result[start : start + _BLOCK] = np.einsum("nt,nt->n", bank[block % up], window)
    return result
