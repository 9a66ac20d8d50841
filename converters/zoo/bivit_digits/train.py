"""Train bivit-digits: ``python -m millijoule.converters.zoo.bivit_digits.train``.

Binary weights have real ones behind them, through which gradients go straight (AdamW, one cycle of
the learning rate, images shifted by up to one pixel). Some minutes on one core; the last epoch is
what counts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from millijoule.converters.binary import build_module
from millijoule.converters.source import read_folder
from millijoule.converters.zoo.bivit_digits.dataset import load
from millijoule.converters.zoo.packed import save_packed

FOLDER = Path(__file__).parent
SMOOTHING = 0.05
BATCH = 48


def shifted(x: Tensor, rng: torch.Generator, reach: int = 1) -> Tensor:
    """Every image of [rows, 1, side, side] moved by up to ``reach`` pixels either way."""
    side = x.shape[-1]
    padded = F.pad(x, (reach,) * 4, value=float(x.min()))
    offsets = torch.randint(0, 2 * reach + 1, (len(x), 2), generator=rng).tolist()
    crops = [p[:, r : r + side, c : c + side] for p, (r, c) in zip(padded, offsets, strict=True)]
    return torch.stack(crops)


def train(model: nn.Module, x: Tensor, y: Tensor, epochs: int, rng: torch.Generator) -> None:
    """Fit ``model`` to images and labels, in place."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for epoch in range(epochs):
        total = 0.0
        order = torch.randperm(len(x), generator=rng)
        for i in range(0, len(x) - BATCH + 1, BATCH):
            rows = order[i : i + BATCH]
            logits = model(shifted(x[rows], rng))["logits"]
            loss = F.cross_entropy(logits, y[rows], label_smoothing=SMOOTHING)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        print(f"epoch {epoch + 1}: loss {total / (len(x) // BATCH):.4f}", flush=True)


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of images whose largest logit is the label's."""
    with torch.no_grad():
        return float((model(x)["logits"].argmax(-1) == y).double().mean())


def main() -> None:
    """Train, save the packed weights, print both accuracies."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=130)
    parser.add_argument("--out", type=Path, default=FOLDER / "weights.safetensors")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder = read_folder(FOLDER)
    model = build_module(folder.family, folder.variant, folder.hparams)
    (x, y), (held_x, held_y) = load()
    train(model.train(), x, y, arguments.epochs, torch.Generator().manual_seed(1))
    model = save_packed(model.eval(), arguments.out)
    print(f"accuracy: {accuracy(model, x, y):.4f} train, {accuracy(model, held_x, held_y):.4f}")


if __name__ == "__main__":
    main()
