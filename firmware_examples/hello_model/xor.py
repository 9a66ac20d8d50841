"""The model: exclusive or, by two hidden neurons. `mj build xor.py:make --target cortex-m4`"""

from __future__ import annotations

import torch
from torch import nn


class Xor(nn.Module):
    """``y = relu(a + b) - 2 relu(a + b - 1)`` of ``x = (a, b)``: float ``[B, 2]`` to ``[B, 1]``."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(2, 2), nn.Linear(2, 1)
        with torch.no_grad():
            self.hidden.weight.fill_(1.0)
            self.hidden.bias.copy_(torch.tensor([0.0, -1.0]))
            self.out.weight.copy_(torch.tensor([[1.0, -2.0]]))
            self.out.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.hidden(x)))


def make() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """Module and example inputs."""
    return Xor(), (torch.tensor([[1.0, 0.0]]),)
