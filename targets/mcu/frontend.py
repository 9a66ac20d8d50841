"""The C log-mel front end of a model: its constants as C source, beside the analysis itself.

The device computes with 16-bit samples and float32, so what costs nothing here is folded in: the
scale of the samples and the half of the real transform go into the window (``/ 65536``), and the
normalization becomes one multiply-add (``scale``, ``offset``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import millijoule
from millijoule.audio import LogMel, frontend_from_manifest
from millijoule.errors import UnsupportedError

AUDIO_FOLDER = Path(millijoule.__file__).parent / "runtime" / "audio"
_SHORTEST, _LONGEST = 16, 8192  # transforms that mj_logmel.c computes
_SAMPLE_SCALE = 65_536.0  # 32768 for 16-bit samples, 2 for the real transform


def frontend_source(frontend: Mapping[str, Any]) -> dict[str, str]:
    """C sources of a front end.

    Args:
        frontend: the ``frontend`` entry of a manifest, kind "log-mel".

    Returns:
        File name to text: ``frontend.h`` and ``frontend.c`` (the constants, ``mj_frontend``), and
        ``mj_logmel.h`` and ``mj_logmel.c`` (the analysis, the same for every model).

    Raises:
        UsageError: an entry that describes no front end.
        UnsupportedError: a transform length that the C code does not compute.
    """
    front = frontend_from_manifest(frontend)
    features = front.features
    if not _SHORTEST <= features.fft <= _LONGEST:
        raise UnsupportedError(
            f"[frontend] fft must be {_SHORTEST} to {_LONGEST} on a microcontroller, "
            f"but is {features.fft}"
        )
    return {
        "frontend.h": _header(features, front.seq_len),
        "frontend.c": _tables(features),
        **{name: (AUDIO_FOLDER / name).read_text() for name in ("mj_logmel.h", "mj_logmel.c")},
    }


def _header(features: LogMel, frames: int | None) -> str:
    ring = 1 << (features.window + 2 * features.shift - 1).bit_length()
    return f"""/* Generated: the front end that the model was trained with. */
#ifndef MJ_FRONTEND_H
#define MJ_FRONTEND_H

#include "mj_logmel.h"

#define MJ_FRONTEND_SAMPLE_RATE {features.sample_rate} /* hertz; 16-bit samples, mono */
#define MJ_FRONTEND_WINDOW {features.window} /* samples in a frame */
#define MJ_FRONTEND_SHIFT {features.shift} /* samples from one frame to the next */
#define MJ_FRONTEND_FFT {features.fft} /* floats of scratch memory */
#define MJ_FRONTEND_RING {ring} /* samples in the ring: a frame and two shifts at least */
#define MJ_FRONTEND_MELS {features.n_mels} /* features in a frame */
#define MJ_FRONTEND_FRAMES {frames or 0} /* frames that a decision takes; 0: any */

extern const mj_logmel_tables mj_frontend;

#endif
"""


def _tables(features: LogMel) -> str:
    bands = features.bands
    window = features.hann / _SAMPLE_SCALE
    angle = 2 * np.pi * np.arange(3 * features.fft // 4) / features.fft
    roots = np.stack([np.cos(angle), -np.sin(angle)], axis=1).ravel()
    return f"""/* Generated: see frontend.h. */
#include "frontend.h"

static const float hann[{window.size}] = {_floats(window)};
static const float roots[{roots.size}] = {_floats(roots)};
static const uint16_t first[{bands.first.size}] = {_integers(bands.first)};
static const uint16_t start[{bands.start.size}] = {_integers(bands.start)};
static const float weight[{bands.weight.size}] = {_floats(bands.weight)};

const mj_logmel_tables mj_frontend = {{
    .window = {features.window},
    .shift = {features.shift},
    .fft = {features.fft},
    .n_mels = {features.n_mels},
    .preemphasis = {_float(features.preemphasis)},
    .floor = {_float(features.floor)},
    .scale = {_float(1 / features.std)},
    .offset = {_float(-features.mean / features.std)},
    .hann = hann,
    .roots = roots,
    .first = first,
    .start = start,
    .weight = weight,
}};
"""


def _float(value: float) -> str:
    """A C literal of the nearest float32; nine digits name every one of them."""
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if any(mark in text for mark in ".en") else f"{text}.0f"


def _floats(values: Iterable[float]) -> str:
    return _lines([_float(value) for value in values])


def _integers(values: Iterable[int]) -> str:
    return _lines([str(value) for value in values])


def _lines(words: list[str]) -> str:
    """An initializer, eight values a line."""
    rows = [", ".join(words[i : i + 8]) for i in range(0, len(words), 8)]
    return "{\n    " + ",\n    ".join(rows) + "}"
