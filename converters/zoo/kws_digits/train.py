"""Train kws-digits on the speech set.

    python -m millijoule.converters.zoo.kws_digits.train SCRATCH [--out FOLDER] [--epochs 14] ...

Draws augmented clips once (kept in ``SCRATCH/features``), trains with AdamW on a cosine schedule,
keeps the weights with the best validation score (over held-out voices and conditions, never the
recordings), and writes ``config.json`` and ``weights.safetensors`` to ``--out``. ``--network
teacher`` trains the larger network of ``teacher.py`` instead, which ``--teacher`` learns from.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from millijoule.audio import LogMel, LogMelFrontend, frontend_from_manifest
from millijoule.converters.checkpoint import load_weights, read_checkpoint
from millijoule.converters.lmuformer import build_module
from millijoule.converters.lmuformer.convert import DERIVED
from millijoule.converters.lmuformer.layers import BatchNorm

from .dataset import FRAMES, condition_features, training_features
from .fast_layers import use_fast_layers
from .fast_lif import use_fast_lif
from .teacher import Teacher, load_teacher
from .words import LABELS

VARIANT = "spiking-ms"
_COSINES = 14
# The mean over time of spikes varies little, so the head would have to grow for long before its
# logits matter: train with sharper logits, and fold the factor into the head on export.
_SHARPNESS = 10.0
_HEAD = ("head.weight", "head.bias")
_CONDITION_WEIGHTS = {"clean": 0.5, "noisy": 0.2, "telephone": 0.3}
_TEACHER_SHARE, _TEMPERATURE = 0.7, 2.0  # of the loss; of both networks' probabilities


@dataclass(frozen=True)
class Evaluation:
    """Features of one condition, the class of each row and the voice that spoke it."""

    x: Tensor
    label: np.ndarray
    voice: np.ndarray


def cached_training(options: argparse.Namespace, features: LogMel) -> tuple[Tensor, Tensor]:
    """Features ``[clips, 98, n_mels]`` float16 and classes ``[clips]``, drawn once per setting."""
    setting = f"{features}-{options.clips}-{options.seed}-{options.lowest_snr}"
    name = hashlib.sha256(setting.encode()).hexdigest()[:12]
    path = options.scratch / "features" / f"train-{name}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        x, y = training_features(
            options.scratch,
            features,
            options.clips,
            options.seed,
            options.lowest_snr,
            options.jobs,
        )
        partial = path.with_suffix(".part.npz")
        np.savez(partial, x=x, y=y)
        os.replace(partial, path)
    with np.load(path) as file:
        return torch.from_numpy(file["x"]), torch.from_numpy(file["y"])


def load_validation(options: argparse.Namespace, features: LogMel) -> dict[str, Evaluation]:
    """The three conditions of the validation voices."""
    found = {}
    for condition, x, rows, speech in condition_features(
        options.scratch, "validation", features, options.validation_words, 1000, options.jobs
    ):
        found[condition] = Evaluation(torch.from_numpy(x), speech.label[rows], speech.voice[rows])
    return found


def normalization(raw: LogMel, x: Tensor, start: Path | None) -> LogMel:
    """The analysis, normalized by statistics of the clips or as ``start`` was trained."""
    if start:
        config = json.loads((start / "config.json").read_text(encoding="utf-8"))
        return frontend_from_manifest(config["frontend"]).features
    sample = x[:4000].float()
    return replace(raw, mean=round(float(sample.mean()), 4), std=round(float(sample.std()), 4))


def initialize(model: nn.Module, generator: torch.Generator) -> None:
    """Start where spikes carry information; from torch's defaults learning hardly moves.

    Spiking from the first step: batch norms before neurons get gain 1.5 and bias 0.5 (a standard
    normal current fires at 3 %). The memory's branch starts small, since it adds to potentials that
    are small. The first layer starts with smooth zero-mean patterns over the mel axis (cosines,
    with three temporal shapes): these see the shape of a spectrum, whatever its level.
    """
    for name, module in model.named_modules():
        if isinstance(module, BatchNorm):
            branch = name.endswith("attn.proj_bn")
            nn.init.constant_(module.weight, 0.1 if branch else 1.5)
            nn.init.constant_(module.bias, 0.0 if branch else 0.5)
    weight = model.get_parameter("patch_embed.proj_conv.weight")
    outputs, bands, _ = weight.shape
    order = torch.arange(1, _COSINES + 1)[:, None]
    cosines = torch.cos(torch.pi * order * (torch.arange(bands) + 0.5) / bands)
    mix = torch.randn(outputs, _COSINES, generator=generator) / (1 + 0.1 * torch.arange(_COSINES))
    shapes = torch.tensor([[1.0, 1.0, 1.0], [-1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [1.0, -2.0, 1.0]])
    filters = (mix @ cosines)[:, :, None] * shapes[torch.arange(outputs) % 4][:, None, :]
    with torch.no_grad():
        weight.copy_(0.1 * filters / filters.std())


def predict(model: nn.Module, x: Tensor, batch: int = 256) -> np.ndarray:
    """Logits ``[n, classes]`` in inference mode."""
    model.eval()
    with torch.no_grad():
        return np.concatenate([model(part.float()).numpy() for part in x.split(batch)])


def voice_accuracy(
    model: nn.Module, sets: dict[str, Evaluation], scale: LogMel
) -> dict[str, tuple[float, float]]:
    """Per condition, of formant and of natural voices: the mean of each voice's accuracy."""
    result = {}
    for condition, data in sets.items():
        logits = predict(model, (data.x.float() - scale.mean) / scale.std)
        right = logits.argmax(1) == data.label
        each = {str(v): float(right[data.voice == v].mean()) for v in set(data.voice)}
        formant = [a for voice, a in each.items() if voice.startswith("espeak")]
        natural = [a for voice, a in each.items() if not voice.startswith("espeak")]
        result[condition] = float(np.mean(formant)), float(np.mean(natural))
    return result


def score(accuracy: dict[str, tuple[float, float]]) -> float:
    """What epochs are chosen by: formant and natural voices count the same, clean sound most."""
    return sum(
        weight * sum(accuracy[condition]) / 2 for condition, weight in _CONDITION_WEIGHTS.items()
    )


def batches(
    clips: int, per_epoch: int, batch: int, generator: torch.Generator
) -> Iterator[list[Tensor]]:
    """Endless epochs, each a list of batches of rows; every clip is used before one is again."""
    rows = torch.empty(0, dtype=torch.int64)
    while True:
        while len(rows) < per_epoch:
            rows = torch.cat([rows, torch.randperm(clips, generator=generator)])
        yield [part for part in rows[:per_epoch].split(batch) if len(part) == batch]
        rows = rows[per_epoch:]


def distillation_loss(logits: Tensor, label: Tensor, teacher: Tensor | None) -> Tensor:
    """Cross entropy with smoothed classes, mixed with the teacher's probabilities if given."""
    loss = F.cross_entropy(logits, label, label_smoothing=0.05)
    if teacher is None:
        return loss
    target = F.log_softmax(teacher / _TEMPERATURE, 1)
    own = F.log_softmax(logits / _TEMPERATURE, 1)
    imitation = F.kl_div(own, target, log_target=True, reduction="batchmean") * _TEMPERATURE**2
    return (1 - _TEACHER_SHARE) * loss + _TEACHER_SHARE * imitation


@dataclass(frozen=True)
class Clips:
    """Training clips as drawn, their classes, the teacher's logits, and how to normalize them."""

    x: Tensor
    label: Tensor
    teacher: Tensor | None
    scale: LogMel

    def normalized(self, rows: Tensor) -> Tensor:
        """Model input of some rows."""
        return (self.x[rows].float() - self.scale.mean) / self.scale.std


def fit(
    model: nn.Module,
    clips: Clips,
    validation: dict[str, Evaluation],
    options: argparse.Namespace,
    sharpness: float,
    save: Callable[[], None],
) -> None:
    """Train with a one-cycle schedule; ``save`` the weights whenever validation is best."""
    generator = torch.Generator().manual_seed(options.seed)
    epochs = batches(len(clips.x), options.clips_per_epoch, options.batch, generator)
    steps = options.epochs * (options.clips_per_epoch // options.batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=options.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.rate, total_steps=steps, pct_start=options.rise
    )
    best = -1.0
    for epoch in range(options.epochs):
        start, losses = time.perf_counter(), []
        model.train()
        for rows in next(epochs):
            logits = sharpness * model(clips.normalized(rows))
            teacher = None if clips.teacher is None else clips.teacher[rows].float()
            loss = distillation_loss(logits, clips.label[rows], teacher)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        if (epoch + 1) % options.validate_every and epoch != options.epochs - 1:
            continue
        accuracy = voice_accuracy(model, validation, clips.scale)
        line = " ".join(f"{name} {a:.4f} {b:.4f}" for name, (a, b) in accuracy.items())
        mean, seconds = score(accuracy), time.perf_counter() - start
        print(
            f"epoch {epoch} loss {np.mean(losses):.4f} {line} score {mean:.4f} {seconds:.0f} s",
            flush=True,
        )
        if mean > best:
            best = mean
            save()


def train(options: argparse.Namespace) -> None:
    """Train a network and export it, with its best weights."""
    torch.manual_seed(options.seed)
    raw = LogMel(n_mels=options.mels, low_hz=options.low_hz, high_hz=options.high_hz)
    x, label = cached_training(options, raw)
    validation = load_validation(options, raw)
    clips = Clips(x, label, None, normalization(raw, x, options.start))
    if options.network == "teacher":
        train_teacher(options, clips, validation)
        return
    if options.teacher:
        clips = replace(clips, teacher=teacher_logits(options.teacher, clips))
    hparams = {
        "dim": options.dim, "depth": 1, "num_heads": 1, "mlp_ratio": options.mlp_ratio,
        "in_channels": options.mels, "seq_len": FRAMES, "theta": FRAMES, "num_classes": len(LABELS),
    }  # fmt: skip
    model = use_fast_layers(use_fast_lif(build_module(VARIANT, hparams)))
    initialize(model, torch.Generator().manual_seed(options.seed))
    if options.start:
        resume(model, options.start)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {clips.scale}", flush=True)

    def save() -> None:
        export(model, clips.scale, hparams, options.out)

    fit(model, clips, validation, options, _SHARPNESS, save)


def train_teacher(
    options: argparse.Namespace, clips: Clips, validation: dict[str, Evaluation]
) -> None:
    """Train the larger network; its weights go to ``--out``, a file."""
    model = Teacher(options.mels, len(LABELS))

    def save() -> None:
        torch.save(model.state_dict(), options.out)

    fit(model, clips, validation, options, 1.0, save)


def teacher_logits(path: Path, clips: Clips) -> Tensor:
    """What the teacher makes of every clip: float16 ``[clips, classes]``."""
    model = load_teacher(path, clips.x.shape[2], len(LABELS))
    with torch.no_grad():
        parts = torch.arange(len(clips.x)).split(500)
        return torch.cat([model(clips.normalized(rows)).half() for rows in parts])


def resume(model: nn.Module, folder: Path) -> None:
    """Start from the weights that :func:`export` wrote."""
    state = read_checkpoint(folder / "weights.safetensors")
    for key in _HEAD:
        state[key] /= _SHARPNESS
    load_weights(model, state, folder.name, DERIVED)


def export(model: nn.Module, features: LogMel, hparams: dict[str, int], out: Path) -> None:
    """Write the two files of a model folder, each atomically."""
    out.mkdir(parents=True, exist_ok=True)
    config = {
        "name": "kws-digits",
        "family": "lmuformer",
        "variant": VARIANT,
        "hparams": hparams,
        "labels": list(LABELS),
        "frontend": LogMelFrontend(features, FRAMES).to_manifest(),
        "sample": "recordings/seven.wav",
    }
    partial = out / "config.json.part"
    partial.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, out / "config.json")
    weights = model.state_dict()
    state = {k: v.clone() for k, v in weights.items() if k.rsplit(".", 1)[-1] not in DERIVED}
    for key in _HEAD:
        state[key] *= _SHARPNESS
    save_file(state, out / "weights.safetensors.part")
    os.replace(out / "weights.safetensors.part", out / "weights.safetensors")


def main(arguments: list[str] | None = None) -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="train", description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--out", type=Path, help="default: SCRATCH/model")
    parser.add_argument("--start", type=Path, help="model folder to go on from")
    parser.add_argument("--network", choices=("student", "teacher"), default="student")
    parser.add_argument("--teacher", type=Path, help="weights that --network teacher wrote")
    for name, default in {
        "mels": 40, "dim": 72, "mlp-ratio": 4, "clips": 240_000, "clips-per-epoch": 60_000,
        "batch": 128, "epochs": 16, "validate-every": 1, "validation-words": 100, "seed": 0,
        "jobs": 2, "threads": 1,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, value in {
        "low-hz": 60.0,
        "high-hz": 7600.0,
        "rate": 4e-3,
        "rise": 0.1,
        "decay": 0.02,
        "lowest-snr": 5.0,
    }.items():
        parser.add_argument(f"--{name}", type=float, default=value)
    options = parser.parse_args(arguments)
    options.out = options.out or options.scratch / "model"
    torch.set_num_threads(options.threads)
    train(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
