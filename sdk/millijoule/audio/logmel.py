"""Log-mel features: one definition for training, for the Python SDK and for a microcontroller.

Frame ``t`` reads the ``W`` samples that start at ``t * S`` and nothing else, where ``W`` and ``S``
are ``window_ms`` and ``shift_ms`` in samples::

    y[n] = x[n] - a x[n-1]                               pre-emphasis in the frame, x[-1] = x[0]
    P[k] = |sum_n y[n] h[n] exp(-2 pi i k n / fft)|^2    h[n] = 0.5 - 0.5 cos(2 pi n / (W - 1))
    E[b] = sum_k w[b, k] P[k]                            triangles, straight lines over mel(f)
    f[b] = (ln(max(E[b], floor)) - mean) / std           mel(f) = 1127 ln(1 + f / 700)

``mean``, ``std`` and ``floor`` are constants of the model: nothing looks at the whole recording, so
a stream gives the same frames, bit for bit. A port needs two tables (``hann`` and ``bands``), one
real FFT of a power-of-two length and one logarithm per band.
Source of the formulas: Young et al., "The HTK Book", 3.4, sections 5.2, 5.4 and 5.6.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from millijoule.audio.resample import check_rate
from millijoule.errors import UsageError

_LOUDEST = 2.0  # full scale is 1; interpolation overshoots it a little
_LARGEST_FFT = 1 << 16
_LARGEST_NUMBER = 1e18  # beyond what any parameter means; manifests hold integers of any length


@dataclass(frozen=True)
class Bands:
    """Triangles without their zeros: band ``b`` weighs the bins from ``first[b]`` on.

    Its weights are ``weight[start[b]:start[b + 1]]``. ``first`` int64 ``[n_mels]``, ``start`` int64
    ``[n_mels + 1]``, ``weight`` float64 ``[start[-1]]``.
    """

    first: np.ndarray
    start: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class LogMel:
    """Log-mel analysis of a mono waveform; see the module for the formula.

    Attributes:
        sample_rate: hertz.
        n_mels: bands per frame.
        window_ms, shift_ms: length of a frame and distance between frames, milliseconds.
        fft: transform length in samples, a power of two, at least the window.
        low_hz, high_hz: lower edge of the first band and upper edge of the last.
        preemphasis: ``a`` above; 0 turns it off.
        floor: smallest band energy, for samples in [-1, 1].
        mean, std: constants of the normalization.

    Raises:
        UsageError: a value outside its range, or so many bands that one holds no FFT bin.
    """

    sample_rate: int = 16_000
    n_mels: int = 40
    window_ms: float = 25.0
    shift_ms: float = 10.0
    fft: int = 512
    low_hz: float = 60.0
    high_hz: float = 7_600.0
    preemphasis: float = 0.97
    floor: float = 1e-6
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        check_rate(self.sample_rate, "sample_rate")
        for field in fields(self):
            value, whole = getattr(self, field.name), field.type == "int"
            if not _is_number(value) or (whole and not isinstance(value, int | np.integer)):
                kind = "a whole number" if whole else "a finite number"
                raise UsageError(f"[log-mel] {field.name} must be {kind}, but received {value!r}")
        self._require(
            0 < self.shift_ms <= self.window_ms,
            "shift_ms must be above 0 and at most window_ms",
            self.shift_ms,
        )
        self._require(
            max(self.window, 4) <= self.fft <= _LARGEST_FFT and self.fft & (self.fft - 1) == 0,
            f"fft must be a power of two of at least the window's {self.window} samples and at"
            f" most {_LARGEST_FFT}",
            self.fft,
        )
        # A bin lies in two bands at most, so more bands than this would leave some without any.
        self._require(1 <= self.n_mels <= self.fft, "n_mels must be 1 to fft", self.n_mels)
        self._require(
            0 <= self.low_hz < self.high_hz <= self.sample_rate / 2,
            f"low_hz and high_hz must rise from 0 to {self.sample_rate / 2:g}",
            (self.low_hz, self.high_hz),
        )
        self._require(0 <= self.preemphasis < 1, "preemphasis must be in [0, 1)", self.preemphasis)
        self._require(self.floor > 0, "floor must be above 0", self.floor)
        self._require(self.std > 0, "std must be above 0", self.std)
        self._require(
            self.shift >= 1 and self.window >= 2, "frames must hold samples", self.window_ms
        )
        self.bands  # noqa: B018 - builds the bands, so that an empty one is reported here

    @staticmethod
    def _require(holds: bool, rule: str, value: object) -> None:
        if not holds:
            raise UsageError(f"[log-mel] {rule}, but received {value!r}")

    @property
    def window(self) -> int:
        """Samples in a frame."""
        return round(self.sample_rate * self.window_ms / 1000)

    @property
    def shift(self) -> int:
        """Samples from one frame to the next."""
        return round(self.sample_rate * self.shift_ms / 1000)

    @cached_property
    def hann(self) -> np.ndarray:
        """The window ``h``: float64 ``[window]``."""
        return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / (self.window - 1))

    @cached_property
    def bands(self) -> Bands:
        """The triangles ``w``, without their zeros."""
        mel = _mel(np.arange(self.fft // 2 + 1) * self.sample_rate / self.fft)
        edges = np.linspace(_mel(self.low_hz), _mel(self.high_hz), self.n_mels + 2)
        first: list[int] = []
        start: list[int] = [0]
        weight: list[np.ndarray] = []
        for low, centre, high in zip(edges, edges[1:], edges[2:], strict=False):
            bins = np.flatnonzero((mel > low) & (mel < high))
            if bins.size == 0:
                raise UsageError(
                    f"[log-mel] every band must hold an FFT bin, but band {len(first)} of "
                    f"{self.n_mels} does not; use fewer bands, a wider range or a longer fft "
                    f"than {self.fft}"
                )
            rise, fall = (mel[bins] - low) / (centre - low), (high - mel[bins]) / (high - centre)
            first.append(int(bins[0]))
            start.append(start[-1] + bins.size)
            weight.append(np.minimum(rise, fall))
        return Bands(np.array(first), np.array(start), np.concatenate(weight))

    @cached_property
    def _bins(self) -> np.ndarray:
        """FFT bin of every weight, int64 ``[start[-1]]``."""
        runs = zip(self.bands.first, np.diff(self.bands.start), strict=True)
        return np.concatenate([np.arange(first, first + count) for first, count in runs])

    def frames_in(self, samples: int) -> int:
        """Whole frames in a recording of that many samples."""
        return max(0, 1 + (samples - self.window) // self.shift)

    def samples_for(self, frames: int) -> int:
        """Samples that give exactly that many frames."""
        return self.window + (frames - 1) * self.shift if frames > 0 else 0

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """Features of a recording at :attr:`sample_rate`.

        Args:
            waveform: float ``[samples]`` in [-1, 1].

        Returns:
            float32 ``[frames_in(samples), n_mels]``.

        Raises:
            UsageError: not one-dimensional, not floating point, not finite, or far outside [-1, 1].
        """
        samples = check_waveform(waveform)
        count = self.frames_in(samples.size)
        if count == 0:
            return np.zeros((0, self.n_mels), np.float32)
        index = np.arange(count)[:, None] * self.shift + np.arange(self.window)
        frames = samples[index]
        emphasized = frames.copy()
        emphasized[:, 1:] -= self.preemphasis * frames[:, :-1]
        emphasized[:, 0] -= self.preemphasis * frames[:, 0]
        spectrum = np.fft.rfft(emphasized * self.hann, self.fft)
        power = spectrum.real**2 + spectrum.imag**2
        # One sum per band, in a fixed order: a matrix product may round differently for one frame
        # than for many, and a stream must give the very same numbers.
        shares = power[:, self._bins] * self.bands.weight
        energy = np.add.reduceat(shares, self.bands.start[:-1], axis=1)
        return ((np.log(np.maximum(energy, self.floor)) - self.mean) / self.std).astype(np.float32)


class LogMelStream:
    """The frames of a waveform that arrives in pieces of any size.

    Holds fewer than ``window`` samples. The frames equal those of the whole waveform bit for bit.
    """

    def __init__(self, features: LogMel) -> None:
        self.features = features
        self.reset()

    def reset(self) -> None:
        """Forget the samples held: the next piece starts a new recording."""
        self._held = np.zeros(0)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples, float ``[n]``; return the frames they complete.

        Returns:
            float32 ``[k, n_mels]``, ``k`` from 0.

        Raises:
            UsageError: as :meth:`LogMel.__call__`; the samples held stay as they were.
        """
        pending = np.concatenate([self._held, check_waveform(samples)])
        frames = self.features(pending)
        self._held = pending[len(frames) * self.features.shift :]
        return frames


def check_waveform(waveform: np.ndarray) -> np.ndarray:
    """Return a waveform as float64 ``[samples]``, or raise :class:`UsageError` with the reason."""
    samples = np.asarray(waveform)
    if samples.ndim != 1:
        raise UsageError(
            f"[audio] waveform must have one dimension (mono), but received shape {samples.shape}; "
            "average or pick a channel"
        )
    if samples.dtype.kind != "f":
        raise UsageError(
            f"[audio] waveform must be floating point in [-1, 1], but received {samples.dtype}; "
            "divide 16-bit samples by 32768"
        )
    samples = samples.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(samples))
    if bad.size:
        raise UsageError(
            f"[audio] waveform must be finite, but sample {bad[0]} is {samples[bad[0]]} "
            f"({bad.size} such samples); repair the recording"
        )
    if samples.size and np.abs(samples).max() > _LOUDEST:
        raise UsageError(
            f"[audio] waveform must be in [-1, 1], but reaches {np.abs(samples).max():g}; "
            "divide 16-bit samples by 32768"
        )
    return samples


def _is_number(value: Any) -> bool:
    real = isinstance(value, int | float | np.integer | np.floating)
    return real and not isinstance(value, bool) and bool(abs(value) <= _LARGEST_NUMBER)


def _mel(hertz: np.ndarray | float) -> np.ndarray:
    """HTK mel scale."""
    return 1127.0 * np.log1p(np.asarray(hertz, dtype=np.float64) / 700.0)
