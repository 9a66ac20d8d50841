"""ResNet-50 (He et al., "Deep Residual Learning for Image Recognition", table 1).

Strides sit on the 3×3 convolutions, the variant that every framework ships.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Blocks, width of the 3×3 convolutions and stride of each stage.
STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))
EXPANSION = 4


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the size (but for its stride), and its batch norm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Bottleneck(nn.Module):
    """1×1 → 3×3 → 1×1 beside a shortcut: [B, inputs, H, W] → [B, 4·width, H/stride, W/stride]."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = EXPANSION * width
        self.reduce = conv_norm(inputs, width, 1)
        self.middle = conv_norm(width, width, 3, stride)
        self.expand = conv_norm(width, outputs, 1)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else conv_norm(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        y = torch.relu(self.middle(torch.relu(self.reduce(x))))
        return torch.relu(self.expand(y) + self.shortcut(x))


class ResNet(nn.Module):
    """Stem, four stages of bottlenecks, mean over the image, linear head: → [B, classes]."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.stem = conv_norm(3, 64, 7, 2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        blocks, channels = [], 64
        for count, width, stride in STAGES:
            for i in range(count):
                blocks.append(Bottleneck(channels, width, stride if i == 0 else 1))
                channels = EXPANSION * width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, 3, H, W] → logits [B, classes]."""
        x = self.blocks(self.pool(torch.relu(self.stem(x))))
        return self.head(x.mean((2, 3)))


def resnet50() -> nn.Module:
    """25.6 M parameters, 4.1 G multiply-adds at 224×224."""
    return ResNet()
