"""WAV files: PCM of 8, 16, 24 or 32 bits and floating point of 32 or 64, mixed down to mono.

Python's own ``wave`` knows neither floating point nor 24 bits in an extensible header, so the
chunks are read here: ``RIFF <size> WAVE``, then ``<id> <size> <data>`` over and over, padded to
even sizes.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

__all__ = ["read_wav"]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNKNOWN_SIZE = 0xFFFFFFFF  # written by programs that stream into a pipe
_FORMAT = struct.Struct("<HHIIHH")
_MAX_CHANNELS = 256
_MAX_RATE = 10_000_000


class _Format(NamedTuple):
    tag: int
    channels: int
    rate: int
    bits: int


def read_wav(data: bytes) -> tuple[np.ndarray, int]:
    """Mono waveform, float32 [samples] (PCM scaled to -1…1), and its sample rate in Hz.

    Raises:
        ValueError: not such a file; the message is one line.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("not a WAV file (no RIFF/WAVE header)")
    layout: _Format | None = None
    position = 12
    while position + 8 <= len(data):
        kind, size = data[position : position + 4], *struct.unpack_from("<I", data, position + 4)
        start = position + 8
        if kind == b"data" and size == _UNKNOWN_SIZE:
            size = len(data) - start
        if start + size > len(data):
            raise ValueError(
                f"truncated: chunk {kind!r} says {size} bytes, {len(data) - start} left"
            )
        if kind == b"fmt ":
            layout = _format(data[start : start + size])
        elif kind == b"data":
            if layout is None:
                raise ValueError("its sound comes before its format chunk")
            return _samples(data[start : start + size], layout), layout.rate
        position = start + size + size % 2
    raise ValueError("no sound in it (no data chunk)")


def _format(chunk: bytes) -> _Format:
    """Contents of a format chunk that :func:`_samples` can decode."""
    if len(chunk) < _FORMAT.size:
        raise ValueError("its format chunk is too short")
    tag, channels, rate, _, _, bits = _FORMAT.unpack_from(chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        (tag,) = struct.unpack_from("<H", chunk, 24)  # the first field of the sub-format's GUID
    if (tag, bits) not in {
        (_PCM, 8),
        (_PCM, 16),
        (_PCM, 24),
        (_PCM, 32),
        (_FLOAT, 32),
        (_FLOAT, 64),
    }:
        raise ValueError(
            f"coding {tag} with {bits} bits is not supported; convert it to 16-bit PCM"
        )
    if not 1 <= channels <= _MAX_CHANNELS or not 1 <= rate <= _MAX_RATE:
        raise ValueError(f"{channels} channels at {rate} Hz cannot be right")
    return _Format(tag, channels, rate, bits)


def _samples(data: bytes, layout: _Format) -> np.ndarray:
    frame = layout.channels * layout.bits // 8
    if not data or len(data) % frame:
        raise ValueError(f"{len(data)} bytes of sound are not a number of {frame}-byte frames")
    if layout.tag == _FLOAT:
        values = np.frombuffer(data, f"<f{layout.bits // 8}").astype(np.float64)
    elif layout.bits == 8:
        values = np.frombuffer(data, np.uint8) / 128.0 - 1.0
    elif layout.bits == 24:
        # Three bytes into the upper end of four, so that the sign comes out right.
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        values = wide.view("<i4")[:, 0] / 2.0**31
    else:
        values = np.frombuffer(data, f"<i{layout.bits // 8}") / 2.0 ** (layout.bits - 1)
    return values.reshape(-1, layout.channels).mean(axis=1).astype(np.float32)
