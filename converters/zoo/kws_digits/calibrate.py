"""Make ``calibration.npz``: features of training voices that int8 scales are chosen with.

    python -m millijoule.converters.zoo.kws_digits.calibrate SCRATCH

SCRATCH holds the speech set that ``synthesize`` made. The clips are drawn like those of training
(noise, rooms, telephones) from a fixed seed, equally many of every class. The file holds ``x``
float16 [clips, 98, n_mels] and ``labels`` int16 [clips].
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from millijoule.files import atomic_write
from millijoule.npz import npz_bytes

from .dataset import training_features
from .evaluate import HERE, load_torch
from .words import LABELS

_DRAWN = 500  # clips, to find enough of the rarest class in
_LOWEST_SNR = 15.0  # dB
_SEED = 4000


def draw(folder: Path, clips_per_class: int, jobs: int) -> dict[str, np.ndarray]:
    """``x`` and ``labels`` of the file."""
    _, frontend = load_torch()
    x, y = training_features(folder, frontend.features, _DRAWN, _SEED, _LOWEST_SNR, jobs)
    chosen = [np.flatnonzero(y == kind)[:clips_per_class] for kind in range(len(LABELS))]
    rows = np.concatenate(chosen)
    return {"x": x[rows].astype(np.float16), "labels": y[rows].astype(np.int16)}


def main(arguments: list[str] | None = None) -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="calibrate", description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--clips-per-class", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    arrays = draw(options.scratch, options.clips_per_class, options.jobs)
    data = npz_bytes(arrays)
    with atomic_write(HERE / "calibration.npz") as out:
        out.write(data)
    print(f"calibration.npz: {len(arrays['labels'])} clips, {len(data):,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
