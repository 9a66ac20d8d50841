"""A larger network without spikes, to teach the model: its probabilities instead of hard classes.

Never shipped. Residual convolutions over time; 98 frames become 25 steps, then their mean and
maximum are classified.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(width, width, 5, padding=2, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv1d(width, width, 5, padding=2, bias=False),
            nn.BatchNorm1d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class Teacher(nn.Module):
    """Log-mel frames ``[B, 98, bands]`` to logits ``[B, classes]``."""

    def __init__(self, bands: int, classes: int, width: int = 160, blocks: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv1d(bands, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Conv1d(width, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
        )
        self.blocks = nn.Sequential(*(_Residual(width) for _ in range(blocks)))
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * width, classes))

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):  # several times as fast where it is native
            x = self.blocks(self.stem(x.transpose(1, 2))).float()
            return self.head(torch.cat([x.mean(2), x.amax(2)], 1)).float()


def load_teacher(path: Path, bands: int, classes: int) -> Teacher:
    """What ``train --network teacher`` saved, in inference mode."""
    model = Teacher(bands, classes)
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()
