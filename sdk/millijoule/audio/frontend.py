"""From a recording at any sample rate to a model's input, as the bundle's manifest describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from millijoule.audio.logmel import LogMel, check_waveform
from millijoule.audio.resample import resample
from millijoule.errors import UsageError

_MOST_SAMPLES = 1 << 26  # of a model's input: over an hour at 16 kHz, half a gigabyte as float64


@dataclass(frozen=True)
class LogMelFrontend:
    """Resample, pad with silence or cut at the end to ``seq_len`` frames, take log-mel features.

    Attributes:
        features: the analysis.
        seq_len: frames of the result, or None for as many whole frames as the recording holds.
    """

    features: LogMel
    seq_len: int | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.seq_len, int) and not isinstance(self.seq_len, bool)
        if self.seq_len is not None and (not whole or self.seq_len < 1):
            raise UsageError(
                "[frontend] seq_len must be a whole number above 0 or null, "
                f"but received {self.seq_len!r}"
            )
        if self.seq_len is not None and self.features.samples_for(self.seq_len) > _MOST_SAMPLES:
            raise UsageError(
                f"[frontend] seq_len must be frames of at most {_MOST_SAMPLES} samples together, "
                f"but received {self.seq_len}"
            )

    def __call__(self, waveform: np.ndarray, rate: int) -> np.ndarray:
        """Features of a recording.

        Args:
            waveform: float ``[samples]`` in [-1, 1].
            rate: its sample rate in hertz.

        Returns:
            float32 ``[seq_len, n_mels]``.

        Raises:
            UsageError: a waveform that is not mono, floating point, finite and in [-1, 1], or a bad
                rate.
        """
        samples = resample(check_waveform(waveform), rate, self.features.sample_rate)
        if self.seq_len is not None:
            wanted = self.features.samples_for(self.seq_len)
            samples = np.pad(samples[:wanted], (0, max(0, wanted - samples.size)))
        return self.features(samples)

    def to_manifest(self) -> dict[str, Any]:
        """The ``frontend`` entry of a manifest or of a model's config.json."""
        return {"kind": "log-mel", **asdict(self.features), "seq_len": self.seq_len}


def frontend_from_manifest(entry: Mapping[str, Any]) -> LogMelFrontend:
    """Build the front end that a manifest describes.

    Args:
        entry: ``{"kind": "log-mel", ...}``; absent parameters take the defaults of :class:`LogMel`.

    Returns:
        A callable ``(waveform float [samples] in [-1, 1], rate) -> float32 [seq_len, n_mels]``.

    Raises:
        UsageError: another kind, an unknown parameter or a bad value.
    """
    parameters = dict(entry) if isinstance(entry, Mapping) else {}
    kind = parameters.pop("kind", None)
    if kind != "log-mel":
        raise UsageError(
            f"[frontend] kind must be 'log-mel', but received {kind!r}; rebuild the bundle"
        )
    seq_len = parameters.pop("seq_len", None)
    known = [field.name for field in fields(LogMel)]
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise UsageError(
            f"[frontend] unknown parameter {unknown[0]!r}; "
            f"valid ones are {', '.join(known)} and seq_len"
        )
    return LogMelFrontend(LogMel(**parameters), seq_len)
