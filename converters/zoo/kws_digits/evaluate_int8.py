"""Compare the int8 program with the float one on labelled clips of voices held out of training.

    python -m millijoule.converters.zoo.kws_digits.evaluate_int8 SCRATCH
        [--split validation] [--words-per-voice N] [--most-lost 1.0] [--features FILE.npz]

Builds both for this machine from the folder's weights and ``calibration.npz``, prints Markdown, and
ends with exit code 1 if int8 loses more than ``--most-lost`` points of accuracy over all clips.
SCRATCH holds the speech set that ``synthesize`` made. ``--features`` keeps the features there, or
takes them from there if the file exists: making them takes longest.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

import millijoule
from millijoule.npz import npz_bytes, read_npz

from .dataset import CONDITIONS, condition_features
from .evaluate import HERE, bundle_predictor, load_torch, table

_SEED = 2000  # as evaluate


def held_out(options: argparse.Namespace) -> dict[str, np.ndarray]:
    """``x`` float16 [n, 98, n_mels], ``label`` and ``condition`` [n] of the chosen split."""
    kept = options.features
    if kept is not None and kept.exists():
        return read_npz(kept)
    frontend = load_torch()[1]
    parts: dict[str, list[np.ndarray]] = {"x": [], "label": [], "condition": []}
    made = condition_features(
        options.scratch,
        options.split,
        frontend.features,
        options.words_per_voice,
        _SEED,
        options.jobs,
    )
    for number, (_, x, rows, speech) in enumerate(made):
        parts["x"].append(x.astype(np.float16))
        parts["label"].append(speech.label[rows])
        parts["condition"].append(np.full(len(rows), number))
    clips = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    if kept is not None:
        kept.write_bytes(npz_bytes(clips))
    return clips


def decisions(dtype: str, x: np.ndarray, streaming: bool) -> np.ndarray:
    """Classes [n] that a bundle of ``dtype`` for this machine decides on."""
    model = millijoule.convert(HERE, dtype=dtype, streaming=streaming)
    with tempfile.TemporaryDirectory(prefix="millijoule-") as folder:
        path = Path(folder) / "model.mjb"
        millijoule.build(model, "host", path).close()
        predict, _ = bundle_predictor(path)
        return predict(x.astype(np.float32)).argmax(1)


def main(arguments: list[str] | None = None) -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="evaluate_int8", description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--words-per-voice", type=int, help="default: all")
    parser.add_argument("--most-lost", type=float, default=1.0, help="points of accuracy")
    parser.add_argument("--features", type=Path)
    parser.add_argument("--streaming", action="store_true", help="build the streaming programs")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    clips = held_out(options)
    label, condition = clips["label"], clips["condition"]
    found = {d: decisions(d, clips["x"], options.streaming) for d in ("float32", "int8")}
    right = {dtype: classes == label for dtype, classes in found.items()}
    same = found["float32"] == found["int8"]
    groups = {"all": np.ones(len(label), bool)}
    for number, name in enumerate(CONDITIONS):
        groups[name] = condition == number
    rows = [
        [name, int(g.sum()), *(float(r[g].mean()) for r in right.values()), float(same[g].mean())]
        for name, g in groups.items()
    ]
    print(table([f"{options.split} voices", "clips", *right, "same decision"], rows))
    lost = 100 * float(right["float32"].mean() - right["int8"].mean())
    print(f"\nint8 loses {lost:.2f} points of accuracy (at most {options.most_lost:g} allowed)")
    return int(lost > options.most_lost)


if __name__ == "__main__":
    sys.exit(main())
