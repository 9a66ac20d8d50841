"""Reproduce the accuracy tables of the model card, through torch or through a built bundle.

    python -m millijoule.converters.zoo.kws_digits.evaluate SCRATCH [--split test]
        [--model FOLDER | --bundle FILE.mjb] [--words-per-voice N] [--recordings FOLDER]

Prints Markdown. SCRATCH holds the speech set that ``synthesize`` made. ``--recordings`` names more
recordings of digits, ``<word>.wav`` or ``<digit>.wav``, besides those beside this file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import millijoule
from millijoule.audio import LogMelFrontend, frontend_from_manifest
from millijoule.inputs.wav import read_wav

from .dataset import condition_features
from .words import DIGITS, LABELS, NEAR_MISSES, label_of

HERE = Path(__file__).parent
Predictor = Callable[[np.ndarray], np.ndarray]
"""Features float32 ``[n, 98, n_mels]`` to logits ``[n, classes]``."""


def load_torch(folder: Path = HERE) -> tuple[Any, LogMelFrontend]:
    """The model of a folder as a torch module in inference mode, and its front end."""
    from millijoule.converters.checkpoint import find_weights, load_weights, read_checkpoint
    from millijoule.converters.lmuformer import build_module
    from millijoule.converters.lmuformer.convert import DERIVED

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    module = build_module(config["variant"], config["hparams"]).eval()
    weights = find_weights(folder)
    load_weights(module, read_checkpoint(weights), weights.name, DERIVED)
    return module, frontend_from_manifest(config["frontend"])


def torch_predictor(module: Any) -> Predictor:
    """Logits through torch."""
    import torch

    def predict(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            parts = torch.from_numpy(np.ascontiguousarray(x, np.float32)).split(256)
            return np.concatenate([module(part).numpy() for part in parts])

    return predict


def bundle_predictor(path: Path) -> tuple[Predictor, LogMelFrontend]:
    """Logits through a built bundle, and the front end of its manifest."""
    session = millijoule.load(str(path))
    entry = session.manifest.model.frontend
    if entry is None:
        raise SystemExit(f"{path} has no audio front end; build it from kws-digits")
    frontend = frontend_from_manifest(entry)

    def predict(x: np.ndarray) -> np.ndarray:
        clips = np.ascontiguousarray(x, np.float32)
        return np.concatenate([session.run({"x": clip[None]})["logits"] for clip in clips])

    return predict, frontend


@dataclass(frozen=True)
class Recognition:
    """What the model made of one recording."""

    name: str
    label: int
    predicted: int
    probability: float

    @property
    def right(self) -> bool:
        """Whether it is what was said."""
        return self.label == self.predicted


def word_of(name: str) -> str:
    """The word that a file's stem stands for: itself, or the digit that it is the number of."""
    return DIGITS[int(name)] if name.isdigit() and int(name) < len(DIGITS) else name


def recognize(
    predict: Predictor, frontend: LogMelFrontend, paths: Iterable[Path]
) -> list[Recognition]:
    """Classify recordings of single words."""
    result = []
    for path in paths:
        waveform, rate = read_wav(path.read_bytes())
        logits = predict(frontend(waveform, rate)[None])[0].astype(np.float64)
        share = np.exp(logits - logits.max())
        best = int(logits.argmax())
        probability = float(share[best] / share.sum())
        result.append(Recognition(path.stem, label_of(word_of(path.stem)), best, probability))
    return result


def recordings(folder: Path = HERE / "recordings") -> list[Path]:
    """The recordings of a folder in the order of the digits, then by name."""
    return sorted(folder.glob("*.wav"), key=lambda path: (label_of(word_of(path.stem)), path.name))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; floats as percentages."""
    cells = [[f"{c:.1%}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def speech_tables(options: argparse.Namespace, predict: Predictor, frontend: LogMelFrontend) -> str:
    """Accuracy per condition: overall, per voice and per class."""
    right = {}
    for condition, x, rows, speech in condition_features(
        options.scratch,
        options.split,
        frontend.features,
        options.words_per_voice,
        2000,
        options.jobs,
    ):
        right[condition] = predict(x).argmax(1) == speech.label[rows]
        word, label, voice = speech.word[rows], speech.label[rows], speech.voice[rows]
    classes = [label == kind for kind in range(len(LABELS))]
    formant = np.char.startswith(voice, "espeak")
    similar = np.isin(word, NEAR_MISSES)
    groups = {
        "all clips": np.ones(len(label), bool),
        "digits": label < len(DIGITS),
        "unknown, near misses": similar,
        "unknown, other words": classes[-1] & ~similar,
        "natural voices": ~formant,
        "espeak-ng voices": formant,
        "espeak-ng voices, digits": formant & (label < len(DIGITS)),
        "espeak-ng voices, near misses left out": formant & ~similar,
    }
    groups |= {f"voice {v}": voice == v for v in np.unique(voice)}
    groups |= {f"class {name}": chosen for name, chosen in zip(LABELS, classes, strict=True)}
    mean = [float(np.mean([r[chosen].mean() for chosen in classes])) for r in right.values()]
    table_rows: list[list[object]] = [["**mean of the 11 classes**", len(label), *mean]]
    for name, chosen in groups.items():
        if chosen.any():
            share = [float(r[chosen].mean()) for r in right.values()]
            table_rows.append([name, int(chosen.sum()), *share])
    return table(["group", "clips", *right], table_rows)


def recording_table(predict: Predictor, frontend: LogMelFrontend, paths: list[Path]) -> str:
    """Every recording: said, recognized, probability."""
    found = recognize(predict, frontend, paths)
    rows = [
        [r.name, LABELS[r.predicted], f"{r.probability:.2f}", "yes" if r.right else "**no**"]
        for r in found
    ]
    count = sum(r.right for r in found)
    head = ["recording", "recognized", "probability", "right"]
    return f"{table(head, rows)}\n\n{count} of {len(found)} right."


def spike_table(module: Any, frontend: LogMelFrontend, paths: list[Path]) -> str:
    """Share of neurons and frames that spike, per layer, over recordings."""
    import torch

    from millijoule.converters.samples import spikes_of

    clips = [frontend(*read_wav(path.read_bytes())) for path in paths]
    x = torch.from_numpy(np.stack(clips))
    _, spikes = spikes_of(module, lambda m: m(x))
    rows = [[name, s.shape[-1], float(s.float().mean())] for name, s in spikes.items()]
    return table(["layer", "neurons", "spikes per neuron and frame"], rows)


def main(arguments: list[str] | None = None) -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="evaluate", description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    program = parser.add_mutually_exclusive_group()
    program.add_argument("--model", type=Path, default=HERE)
    program.add_argument("--bundle", type=Path)
    parser.add_argument("--words-per-voice", type=int)
    parser.add_argument("--recordings", type=Path, action="append", default=[])
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    module = None
    if options.bundle:
        predict, frontend = bundle_predictor(options.bundle)
    else:
        module, frontend = load_torch(options.model)
        predict = torch_predictor(module)
    print(f"## {options.split} voices\n\n{speech_tables(options, predict, frontend)}\n")
    for folder in (HERE / "recordings", *options.recordings):
        paths = recordings(folder)
        print(f"## recordings: {folder.name}\n\n{recording_table(predict, frontend, paths)}\n")
    if module is not None:
        print(f"## spikes\n\n{spike_table(module, frontend, recordings())}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
