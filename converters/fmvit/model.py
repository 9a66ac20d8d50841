"""The network: stem, four stages of blocks, head. Training form; `deploy` gives the other."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from millijoule.converters.fmvit.hparams import Hparams
from millijoule.converters.fmvit.layers import (
    Attention,
    ConvAttention,
    ConvNorm,
    Head,
    Mlp,
    MultiGroupConv,
    embed,
)

LEVELS = ("c2", "c3", "c4", "c5")  # the customary names of features at 1/4 … 1/32 of the image


class ConvBlock(nn.Module):
    """embed; x + 1×1(ReLU(multi-group 3×3 (x))); x + MLP(x)."""

    def __init__(self, hp: Hparams, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.embed = embed(inputs, width, stride)
        self.local = ConvAttention(width, hp.branches)
        self.mlp = Mlp(width, int(width * hp.mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, width, H/stride, W/stride]."""
        x = self.embed(x)
        x = x + self.local(x)
        return x + self.mlp(x)


class MixingBlock(nn.Module):
    """Low frequencies by attention, high ones by convolution, side by side.

    embed to `attention_width` channels; x + attention(x); y = 1×1(x) to the remaining channels;
    y + 1×1(ReLU(multi-group 3×3 (y))); both concatenated; z + MLP(z).
    """

    def __init__(self, hp: Hparams, inputs: int, stage: int, stride: int) -> None:
        super().__init__()
        width = hp.mixing_widths[stage]
        low = hp.attention_width(width)
        self.embed = embed(inputs, low, stride)
        self.attention = Attention(low, hp.head_dim, hp.pooling[stage])
        self.high = ConvNorm(low, width - low)
        self.local = ConvAttention(width - low, hp.branches)
        self.mlp = Mlp(width, int(width * hp.mixing_mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, width, H/stride, W/stride]."""
        x = self.embed(x)
        x = x + self.attention(x)
        y = self.high(x)
        y = y + self.local(y)
        z = torch.cat([x, y], 1)
        return z + self.mlp(z)


class FmVit(nn.Module):
    """FMViT as reconstructed here; see the package. Attributes are the keys of a checkpoint."""

    def __init__(self, hp: Hparams) -> None:
        super().__init__()
        self.hp = hp
        first, second, third = hp.stem
        sizes = (hp.in_channels, first, second, third, third)
        self.stem = nn.ModuleList(
            ConvNorm(sizes[i], sizes[i + 1], 3, stride) for i, stride in enumerate((2, 1, 1, 2))
        )
        self.stages = nn.ModuleList()
        width = third
        for stage in range(4):
            blocks = nn.ModuleList()
            for block in range(hp.depths[stage]):
                stride = 2 if stage and not block else 1
                if hp.mixes(stage, block):
                    blocks.append(MixingBlock(hp, width, stage, stride))
                    width = hp.mixing_widths[stage]
                else:
                    blocks.append(ConvBlock(hp, width, hp.widths[stage], stride))
                    width = hp.widths[stage]
            self.stages.append(blocks)
        self.head = Head(width, hp.num_classes) if hp.outputs == "classes" else None

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Image [B, in_channels, S, S] → logits [B, num_classes], or features c2 … c5."""
        for layer in self.stem:
            x = F.relu(layer(x))
        levels = []
        for stage in self.stages:
            for block in stage:
                x = block(x)
            levels.append(x)
        return tuple(levels) if self.head is None else self.head(x)


def deploy(model: FmVit) -> FmVit:
    """The deployed form of ``model`` in evaluation: the same function without any batch norm."""
    result = copy.deepcopy(model).eval()
    for module in result.modules():
        if isinstance(module, Attention | Mlp | Head):
            module.absorb_norm()
    _replace(result)
    return result


def _replace(parent: nn.Module) -> None:
    for name, child in parent.named_children():
        if isinstance(child, ConvNorm | MultiGroupConv):
            setattr(parent, name, child.deployed())
        else:
            _replace(child)


def attention_macs(model: FmVit) -> dict[str, int]:
    """Dense multiply-accumulates of the two products of every attention, by layer, per image."""
    found = {}
    for path, module in model.named_modules():
        if isinstance(module, Attention):
            stage = int(path.split(".")[1])
            found[path] = module.attention_macs(model.hp.image_size // (4 << stage))
    return found
