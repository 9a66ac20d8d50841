"""MobileOne-S0 as it is deployed (Vasu et al., "MobileOne: An Improved One millisecond Mobile
Backbone", table 2): the branches of training are folded into single convolutions with bias.
"""

from __future__ import annotations

from torch import Tensor, nn

#: Blocks and channels of each stage; every stage halves the image in its first block.
STAGES = ((2, 48), (8, 128), (10, 256), (1, 1024))
STEM = 48


def conv_relu(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> nn.Sequential:
    """A folded block: one convolution with bias, and ReLU."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.normal_(conv.bias, std=0.1)
    return nn.Sequential(conv, nn.ReLU())


class MobileOne(nn.Module):
    """Stem, stages of depthwise 3×3 and pointwise convolutions, mean, head: → [B, classes]."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_relu(3, STEM, 3, 2, 1)]
        channels = STEM
        for count, width in STAGES:
            for i in range(count):
                layers.append(conv_relu(channels, channels, 3, 2 if i == 0 else 1, channels))
                layers.append(conv_relu(channels, width, 1, 1, 1))
                channels = width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, 3, H, W] → logits [B, classes]."""
        return self.head(self.layers(x).mean((2, 3)))


def mobileone_s0() -> nn.Module:
    """Width multipliers 0.75, 1, 1 and 2 of the paper; 2.1 M parameters, 0.28 G multiply-adds."""
    return MobileOne()
