#!/usr/bin/env python3
"""Train fmvit-digits from nothing, in minutes on one core.

    python -m millijoule.converters.zoo.fmvit_digits.train [--epochs 40] [--out FILE]

Augmentation: shifts, rotation and scale (an affine grid), contrast. AdamW with one cycle of the
learning rate, label smoothing. The weights are those after the last epoch: the held-out part
chooses nothing.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from millijoule.converters.fmvit import FmVit, build_module
from millijoule.converters.zoo.fmvit_digits import dataset

HERE = Path(__file__).parent
BATCH, RATE, DECAY, SMOOTHING = 64, 3e-3, 0.05, 0.05
SHIFT, TURN, SCALE = 0.15, 0.25, 0.15  # of half the image; radians; relative


def augment(x: Tensor, rng: torch.Generator) -> Tensor:
    """Images [B, C, H, W], each moved, turned, scaled and of another contrast."""

    def spread(width: float) -> Tensor:
        return (torch.rand(x.shape[0], generator=rng) * 2 - 1) * width

    angle, scale = spread(TURN), 1 + spread(SCALE)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    rows = [torch.stack([cos, -sin, spread(SHIFT)], 1), torch.stack([sin, cos, spread(SHIFT)], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    return moved * (1 + spread(0.2))[:, None, None, None]


def batches(count: int, rng: torch.Generator) -> Iterator[Tensor]:
    """Indices of one epoch, shuffled; a last batch of one is left out, batch norms need two."""
    for part in torch.randperm(count, generator=rng).split(BATCH):
        if len(part) > 1:
            yield part


def train(x: Tensor, y: Tensor, epochs: int, seed: int) -> FmVit:
    """A model in training form."""
    torch.manual_seed(seed)
    config = json.loads((HERE / "config.json").read_text(encoding="utf-8"))
    model = build_module(config["variant"], config["hparams"]).train()
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY)
    rng = torch.Generator().manual_seed(seed)
    steps = epochs * math.ceil(len(x) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for epoch in range(epochs):
        total = 0.0
        for part in batches(len(x), rng):
            logits = model(augment(x[part], rng))
            loss = F.cross_entropy(logits, y[part], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(part)
        print(f"epoch {epoch + 1} of {epochs}: loss {total / len(x):.4f}", flush=True)
    return model.eval()


def accuracy(model: FmVit, x: Tensor, y: Tensor) -> float:
    """Share of right answers."""
    with torch.no_grad():
        logits = model(x)
    assert isinstance(logits, Tensor)
    return float((logits.argmax(1) == y).double().mean())


def main() -> None:
    """Train, print accuracies, write the training form's weights."""
    parser = argparse.ArgumentParser(description="Train fmvit-digits.")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "weights.safetensors")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = json.loads((HERE / "config.json").read_text(encoding="utf-8"))
    images, labels = dataset.load()
    x = torch.from_numpy(dataset.prepare(images, dataset.frontend_of(config["frontend"])))
    (seen, unseen), (right, right_unseen) = (
        dataset.split(x),
        dataset.split(torch.from_numpy(labels)),
    )
    model = train(seen, right, options.epochs, options.seed)
    print(f"training part {accuracy(model, seen, right):.4f}")
    print(f"held-out part {accuracy(model, unseen, right_unseen):.4f}")
    tensors = {name: t.contiguous() for name, t in model.state_dict().items()}
    save_file({k: t for k, t in tensors.items() if "num_batches" not in k}, options.out)


if __name__ == "__main__":
    main()
