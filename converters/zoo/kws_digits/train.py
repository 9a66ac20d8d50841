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
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from millijoule.audio import LogMel, LogMelFrontend, frontend_from_manifest
from millijoule.converters.checkpoint import load_weights, read_checkpoint
from millijoule.converters.lmuformer import build_module
from millijoule.converters.lmuformer.convert import DERIVED
from millijoule.converters.lmuformer.layers import BatchNorm

from .augment import NOISY
from .dataset import FRAMES, condition_features, training_features
from .deepen import deepened, depth_of
from .fast_layers import use_fast_layers
from .fast_lif import use_fast_lif
from .fitting import Clips, Evaluation, fit
from .teacher import Teacher, load_teacher
from .views import Views, quietest
from .widen import widened
from .words import LABELS

VARIANT = "spiking-ms"
_COSINES = 14
# The mean over time of spikes varies little, so the head would have to grow for long before its
# logits matter: train with sharper logits, and fold the factor into the head on export.
_SHARPNESS = 10.0
_HEAD = ("head.weight", "head.bias")


def pool_of(text: str) -> tuple[int, float]:
    """The seed and the share of noisy clips that ``SEED`` or ``SEED:SHARE`` names."""
    seed, _, share = text.partition(":")
    return int(seed), float(share or NOISY)


def training_pools(options: argparse.Namespace, features: LogMel) -> tuple[Tensor, Tensor]:
    """The clips of all ``options.pools``, one pool after the other."""
    pools = [cached_training(options, features, *pool) for pool in options.pools]
    return torch.cat([x for x, _ in pools]), torch.cat([label for _, label in pools])


def selected(options: argparse.Namespace, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """The clips with least noise, ``options.quietest`` of all, and a quarter of the others."""
    chosen = torch.rand(len(x), generator=torch.Generator().manual_seed(options.seed)) < 0.25
    chosen[quietest(x, math.log(LogMel().floor), options.quietest)] = True
    return x[chosen], label[chosen]


def cached_training(
    options: argparse.Namespace, features: LogMel, seed: int, noisy: float
) -> tuple[Tensor, Tensor]:
    """Features ``[clips, 98, n_mels]`` float16 and classes ``[clips]``, drawn once per setting."""
    setting = f"{features}-{options.clips}-{seed}-{options.lowest_snr}-{noisy}"
    name = hashlib.sha256(setting.encode()).hexdigest()[:12]
    path = options.scratch / "features" / f"train-{name}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        x, y = training_features(
            options.scratch,
            features,
            options.clips,
            seed,
            options.lowest_snr,
            options.jobs,
            noisy,
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


def normalization(raw: LogMel, x: Tensor, like: Path | None) -> LogMel:
    """The analysis, normalized by statistics of the clips or as the model of a folder has it."""
    if like:
        config = json.loads((like / "config.json").read_text(encoding="utf-8"))
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


def train(options: argparse.Namespace) -> None:
    """Train a network and export it, with its best weights."""
    torch.manual_seed(options.seed)
    raw = LogMel(n_mels=options.mels, low_hz=options.low_hz, high_hz=options.high_hz)
    x, label = training_pools(options, raw)
    validation = load_validation(options, raw)
    x, label = selected(options, x, label)
    views = Views.of(raw, options.vary, options.blank)
    clips = Clips(x, label, None, normalization(raw, x, options.like), views)
    if options.network == "teacher":
        train_teacher(options, clips, validation)
        return
    if options.teacher:
        clips = replace(clips, teacher=load_teacher(options.teacher, options.mels, len(LABELS)))
    hparams = {
        "dim": options.dim, "depth": options.depth, "num_heads": 1,
        "mlp_ratio": options.mlp / options.dim, "in_channels": options.mels, "seq_len": FRAMES,
        "theta": FRAMES, "num_classes": len(LABELS), "memory_size": options.memory,
    }  # fmt: skip
    model = use_fast_layers(use_fast_lif(build_module(VARIANT, hparams)))
    initialize(model, torch.Generator().manual_seed(options.seed))
    if options.start:
        resume(model, options.start)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {clips.scale}", flush=True)

    def save(trained: nn.Module) -> None:
        export(trained, clips.scale, hparams, options.out)

    fit(model, clips, validation, options, _SHARPNESS, save)


def train_teacher(
    options: argparse.Namespace, clips: Clips, validation: dict[str, Evaluation]
) -> None:
    """Train the larger network; its weights go to ``--out``, a file."""
    model = Teacher(options.mels, len(LABELS))
    if options.start:
        model.load_state_dict(torch.load(options.start, weights_only=True))

    def save(trained: nn.Module) -> None:
        torch.save(trained.state_dict(), options.out)

    fit(model, clips, validation, options, 1.0, save)


def resume(model: nn.Module, folder: Path) -> None:
    """Start from the weights that :func:`export` wrote, of other widths or of fewer blocks."""
    state = read_checkpoint(folder / "weights.safetensors")
    for key in _HEAD:
        state[key] /= _SHARPNESS
    own = model.state_dict()
    depth = depth_of(own)
    state = deepened(state, depth, len(own[f"block.{depth - 1}.mlp.fc1_conv.weight"]))
    load_weights(model, widened(model, state), folder.name, DERIVED)


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
    parser.add_argument("--start", type=Path, help="model folder (teacher: file) to go on from")
    parser.add_argument("--like", type=Path, help="model folder whose normalization to use")
    parser.add_argument(
        "--pools", type=pool_of, nargs="+", default=[(0, NOISY)],
        help=f"of each pool its seed, and :SHARE of the clips that have noise (default {NOISY})",
    )  # fmt: skip
    parser.add_argument("--network", choices=("student", "teacher"), default="student")
    parser.add_argument("--teacher", type=Path, help="weights that --network teacher wrote")
    for name, default in {
        "mels": 40, "dim": 80, "depth": 1, "mlp": 256, "memory": 64, "clips": 240_000,
        "clips-per-epoch": 60_000, "batch": 128, "epochs": 16, "validate-every": 1,
        "validation-words": 100, "seed": 0, "jobs": 2, "threads": 1,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, value in {
        "low-hz": 60.0,
        "high-hz": 7600.0,
        "rate": 4e-3,
        "rise": 0.1,
        "decay": 0.02,
        "lowest-snr": 5.0,
        "vary": 0.5,
        "blank": 0.5,
        "quietest": 1.0,
    }.items():
        parser.add_argument(f"--{name}", type=float, default=value)
    options = parser.parse_args(arguments)
    options.out = options.out or options.scratch / "model"
    torch.set_num_threads(options.threads)
    train(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
