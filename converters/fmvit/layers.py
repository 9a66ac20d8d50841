"""Layers of the family. Images are [B, C, H, W]; tokens are [B, H·W, C]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from millijoule.converters.fmvit import fuse


def as_conv(weight: Tensor, bias: Tensor, like: nn.Conv2d, groups: int) -> nn.Conv2d:
    """A convolution with a bias that takes stride, padding and dtype from ``like``."""
    conv = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        like.kernel_size,
        like.stride,
        like.padding,
        groups=groups,
        dtype=like.weight.dtype,
    )
    _assign(conv, weight, bias)
    return conv


def _assign(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor) -> None:
    dtype = layer.weight.dtype
    layer.weight = nn.Parameter(weight.detach().to(dtype).contiguous())
    layer.bias = nn.Parameter(bias.detach().to(dtype).contiguous())


class ConvNorm(nn.Module):
    """Convolution without bias, then batch norm. Deployed: a plain ``nn.Conv2d``."""

    def __init__(
        self, inputs: int, outputs: int, size: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H/stride, W/stride]."""
        return self.norm(self.conv(x))

    def folded(self) -> tuple[Tensor, Tensor, int]:
        """(W, b, groups), float64."""
        return *fuse.norm_after(self.conv.weight, None, self.norm), self.conv.groups

    def deployed(self) -> nn.Module:
        """The one convolution that computes the same."""
        return as_conv(*self.folded()[:2], self.conv, self.conv.groups)


class MultiGroupConv(nn.Module):
    """A k×k convolution that trains as parallel branches with different numbers of groups.

    Every k×k branch, a 1×1 branch and the identity have a batch norm of their own; the result is
    their sum. Deployed: one grouped ``nn.Conv2d`` with the gcd of the numbers of groups.

    Args:
        channels: inputs and outputs.
        branches: channels per group of each k×k branch.
    """

    def __init__(self, channels: int, branches: Sequence[int], size: int = 3) -> None:
        super().__init__()
        widest = max(branches)
        self.branches = nn.ModuleList(
            ConvNorm(channels, channels, size, groups=channels // width) for width in branches
        )
        self.point = ConvNorm(channels, channels, groups=channels // widest)
        self.identity = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        y = self.point(x) + self.identity(x)
        for branch in self.branches:
            y = y + branch(x)
        return y

    def deployed(self) -> nn.Module:
        """The one convolution that computes the same."""
        parts: list[ConvNorm] = [*self.branches, self.point]
        kernels = [part.folded() for part in parts]
        channels, groups = kernels[0][0].shape[0], kernels[0][2]
        s, t = fuse.affine(self.identity)
        delta = fuse.identity_kernel(channels, groups, 1) * s[:, None, None, None]
        weight, bias, groups = fuse.add_branches([*kernels, (delta, t, groups)])
        return as_conv(weight, bias, parts[0].conv, groups)


class Mlp(nn.Module):
    """norm → 1×1 to ``hidden`` → ReLU → 1×1. Deployed: the norm is part of ``fc1``."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm: nn.Module = nn.BatchNorm2d(channels)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        return self.fc2(F.relu(self.fc1(self.norm(x))))

    def absorb_norm(self) -> None:
        """Fold the norm into ``fc1``."""
        _absorb(self, self.fc1)


class Attention(nn.Module):
    """norm → multi-head attention; keys and values come from the average-pooled image.

    Deployed: the norm is part of ``q``, ``k`` and ``v``, also through the pooling.
    """

    def __init__(self, channels: int, head_dim: int, pooling: int) -> None:
        super().__init__()
        self.heads, self.pooling = channels // head_dim, pooling
        self.norm: nn.Module = nn.BatchNorm2d(channels)
        self.q, self.k, self.v = (nn.Linear(channels, channels) for _ in range(3))
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        x = self.norm(x)
        pooled = F.avg_pool2d(x, self.pooling) if self.pooling > 1 else x
        tokens, context = (image.flatten(2).transpose(1, 2) for image in (x, pooled))
        q, k, v = (
            self._split(layer(source))
            for layer, source in ((self.q, tokens), (self.k, context), (self.v, context))
        )
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.proj(y).transpose(1, 2).reshape(x.shape)

    def _split(self, x: Tensor) -> Tensor:
        """[B, N, C] → [B, heads, N, head_dim]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def absorb_norm(self) -> None:
        """Fold the norm into the three projections."""
        _absorb(self, self.q, self.k, self.v)

    def attention_macs(self, side: int) -> int:
        """Multiply-accumulates of scores and weighted values for an image of ``side`` pixels."""
        return 2 * side**2 * (side // self.pooling) ** 2 * self.q.out_features


class ConvAttention(nn.Module):
    """Multi-group 3×3 → ReLU → 1×1: the local mixing of convolution and high-frequency paths."""

    def __init__(self, channels: int, branches: Sequence[int]) -> None:
        super().__init__()
        self.mix = MultiGroupConv(channels, branches)
        self.proj = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        return self.proj(F.relu(self.mix(x)))


class Embed(nn.Module):
    """Halve the sides by averaging if asked for, then 1×1 and batch norm."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.proj = ConvNorm(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H/stride, W/stride]."""
        return self.proj(F.avg_pool2d(x, self.stride) if self.stride > 1 else x)


def embed(inputs: int, outputs: int, stride: int) -> nn.Module:
    """`Embed`, or nothing where neither sides nor channels change."""
    return nn.Identity() if stride == 1 and inputs == outputs else Embed(inputs, outputs, stride)


def _absorb(module: Mlp | Attention | Head, *layers: nn.Conv2d | nn.Linear) -> None:
    norm = module.norm
    if not isinstance(norm, nn.BatchNorm2d):
        return  # deployed already
    for layer in layers:
        _assign(layer, *fuse.norm_before(norm, layer.weight, layer.bias))
    module.norm = nn.Identity()


class Head(nn.Module):
    """norm → mean over the image → linear. Deployed: the norm is part of ``fc``."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm: nn.Module = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → logits [B, classes]."""
        return self.fc(torch.mean(self.norm(x), (2, 3)))

    def absorb_norm(self) -> None:
        """Fold the norm into ``fc``, through the mean."""
        _absorb(self, self.fc)
