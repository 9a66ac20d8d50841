"""LMUFormer: plain, spiking-ms, spiking, spiking-attention, and the two psMNIST models.

Source: "LMUFormer: Low Complexity Yet Powerful Spiking Model With Legendre Memory Units", ICLR
2024, arXiv 2402.04882. Attribute names are the authors' state_dict keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from millijoule.converters.lmuformer.hparams import Hparams, PixelHparams
from millijoule.converters.lmuformer.layers import (
    BatchNorm,
    Lif,
    PointConv,
    SpikeLinear,
    TimeConv,
)
from millijoule.converters.lmuformer.memory import PixelCell, PlainCell, SpikingCell
from millijoule.converters.stream import Stream, Temporal


class PlainConvLayer(nn.Module):
    """conv → ReLU → BN; the authors number the three 0, 2 and 3."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.add_module("0", TimeConv(inputs, outputs, spiking=False))
        self.add_module("3", BatchNorm(outputs))

    def forward(self, x: Tensor, stream: Stream | None) -> Tensor:
        """[B, N, inputs] → [B, N, outputs]."""
        conv, bn = self.children()
        return bn(F.relu(conv(x, stream)))


class PlainEmbed(Temporal):
    """Four convolution layers and the convolutional position encoding, residual."""

    def __init__(self, hp: Hparams) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList(
            PlainConvLayer(hp.in_channels if i == 0 else hp.dim, hp.dim) for i in range(4)
        )
        self.rpe_conv = TimeConv(hp.dim, hp.dim, spiking=False)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """[B, N, F] → [B, N, C]."""
        for layer in self.conv_layers:
            x = layer(x, stream)
        y = self.rpe_conv(x, stream)
        return y + (x if stream is None else stream.delayed(f"{self.path}.residual", x))


class SpikingEmbed(Temporal):
    """conv → BN → LIF four times, then the position encoding.

    With ``membrane`` shortcuts (spiking-ms, attention) the last convolution's output stays real and
    its spikes only feed the position encoding; without, spikes are added to spikes.
    """

    def __init__(self, hp: Hparams, *, membrane: bool) -> None:
        super().__init__()
        self.membrane = membrane
        for i, suffix in enumerate(("", "1", "2", "3")):
            inputs = hp.in_channels if i == 0 else hp.dim
            self.add_module(f"proj_conv{suffix}", TimeConv(inputs, hp.dim, spiking=i > 0))
            self.add_module(f"proj_bn{suffix}", BatchNorm(hp.dim))
            self.add_module(f"proj_lif{suffix}", Lif())
        self.rpe_conv = TimeConv(hp.dim, hp.dim, spiking=True)
        if not membrane:
            self.rpe_bn, self.rpe_lif = BatchNorm(hp.dim), Lif()

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """[B, N, F] → [B, N, C]: real potentials (membrane) or spike counts."""
        for suffix in ("", "1", "2", "3"):
            y = self.get_submodule(f"proj_conv{suffix}")(x, stream)
            bn = self.get_submodule(f"proj_bn{suffix}")
            x = self.get_submodule(f"proj_lif{suffix}")(y, bn, stream)
        shortcut = y if self.membrane else x
        position = self.rpe_conv(x, stream)
        if stream is not None:
            shortcut = stream.delayed(f"{self.path}.residual", shortcut)
        if self.membrane:
            return shortcut + position
        return shortcut + self.rpe_lif(position, self.rpe_bn, stream)


class PlainAttention(nn.Module):
    """x + proj_bn(proj_conv(LMU(x)))."""

    def __init__(self, hp: Hparams) -> None:
        super().__init__()
        self.lmu = PlainCell(hp.dim, hp.dim, hp.memory_size, hp.theta, hp.seq_len)
        self.proj_conv, self.proj_bn = PointConv(hp.dim, hp.dim, spikes=None), BatchNorm(hp.dim)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """[B, N, C] → [B, N, C]."""
        return x + self.proj_conv(self.lmu(x, stream), self.proj_bn)


class MembraneAttention(nn.Module):
    """spiking-ms: s = LIF(prev_bn x); x + proj_bn(proj_conv(LMU(s)))."""

    def __init__(self, hp: Hparams) -> None:
        super().__init__()
        self.prev_bn, self.prev_lif = BatchNorm(hp.dim), Lif(threshold=0.5)
        self.lmu = SpikingCell(
            hp.dim, hp.dim, hp.memory_size, hp.theta, hp.seq_len, spikes="binary"
        )
        self.proj_conv, self.proj_bn = PointConv(hp.dim, hp.dim, spikes="binary"), BatchNorm(hp.dim)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """[B, N, C] → [B, N, C]."""
        s = self.prev_lif(x, self.prev_bn, stream)
        return x + self.proj_conv(self.lmu(s, stream), self.proj_bn)


class SpikeCountAttention(nn.Module):
    """spiking: the LMU sees the spike counts; x + LIF(proj_bn(proj_conv h))."""

    def __init__(self, hp: Hparams) -> None:
        super().__init__()
        self.lmu = SpikingCell(
            hp.dim, hp.dim, hp.memory_size, hp.theta, hp.seq_len, spikes="counts"
        )
        self.proj_conv, self.proj_bn = PointConv(hp.dim, hp.dim, spikes="binary"), BatchNorm(hp.dim)
        self.proj_lif = Lif()

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """[B, N, C] counts → [B, N, C] counts."""
        return x + self.proj_lif(self.proj_conv(self.lmu(x, stream)), self.proj_bn, stream)


class SelfAttention(nn.Module):
    """Spiking self-attention, (q kᵀ) v · 0.25 per head: no softmax, hence associative, not causal.

    Computed as q (kᵀ v): the products count spikes, small integers that float32 holds exactly, so
    the order of the products changes nothing but the cost (N·d² instead of N²·d).
    """

    def __init__(self, hp: Hparams) -> None:
        super().__init__()
        self.heads = hp.num_heads
        self.pre_bn, self.pre_lif = BatchNorm(hp.dim), Lif()
        for name in ("q", "k", "v"):
            self.add_module(f"{name}_conv", PointConv(hp.dim, hp.dim, spikes="binary", bias=False))
            self.add_module(f"{name}_bn", BatchNorm(hp.dim))
            self.add_module(f"{name}_lif", Lif())
        self.attn_lif = Lif(threshold=0.5, gain=0.25)
        self.proj_conv, self.proj_bn = PointConv(hp.dim, hp.dim, spikes="binary"), BatchNorm(hp.dim)

    def _project(self, name: str, s: Tensor) -> Tensor:
        y = self.get_submodule(f"{name}_conv")(s)
        spikes = self.get_submodule(f"{name}_lif")(y, self.get_submodule(f"{name}_bn"))
        batch, steps, channels = spikes.shape
        heads = spikes.float().reshape(batch, steps, self.heads, channels // self.heads)
        return heads.transpose(1, 2)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """[B, N, C] → [B, N, C]."""
        s = self.pre_lif(x, self.pre_bn)
        q, k, v = (self._project(name, s) for name in ("q", "k", "v"))
        mixed = (q @ (k.transpose(-2, -1) @ v)).transpose(1, 2).reshape(x.shape)
        return x + self.proj_conv(self.attn_lif(mixed), self.proj_bn)


class PlainMlp(nn.Module):
    """x + ReLU(BN(conv2(GELU(BN(conv1 x)))))."""

    def __init__(self, hp: Hparams) -> None:
        super().__init__()
        self.fc1_conv, self.fc1_bn = PointConv(hp.dim, hp.hidden, spikes=None), BatchNorm(hp.hidden)
        self.fc2_conv, self.fc2_bn = PointConv(hp.hidden, hp.dim, spikes=None), BatchNorm(hp.dim)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """[B, N, C] → [B, N, C]."""
        y = F.gelu(self.fc1_conv(x, self.fc1_bn))
        return x + F.relu(self.fc2_conv(y, self.fc2_bn))


class MembraneMlp(nn.Module):
    """x + conv2(LIF(BN2(conv1(LIF(BN1 x)))))."""

    def __init__(self, hp: Hparams) -> None:
        super().__init__()
        self.fc1_bn, self.fc1_lif = BatchNorm(hp.dim), Lif()
        self.fc1_conv = PointConv(hp.dim, hp.hidden, spikes="binary")
        self.fc2_bn, self.fc2_lif = BatchNorm(hp.hidden), Lif()
        self.fc2_conv = PointConv(hp.hidden, hp.dim, spikes="binary")

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """[B, N, C] → [B, N, C]."""
        y = self.fc1_conv(self.fc1_lif(x, self.fc1_bn, stream))
        return x + self.fc2_conv(self.fc2_lif(y, self.fc2_bn, stream))


class SpikeCountMlp(nn.Module):
    """x + LIF(BN(conv2(LIF(BN(conv1 x))))) on spike counts."""

    def __init__(self, hp: Hparams) -> None:
        super().__init__()
        self.fc1_conv, self.fc1_bn = (
            PointConv(hp.dim, hp.hidden, spikes="counts"),
            BatchNorm(hp.hidden),
        )
        self.fc1_lif = Lif()
        self.fc2_conv, self.fc2_bn = (
            PointConv(hp.hidden, hp.dim, spikes="binary"),
            BatchNorm(hp.dim),
        )
        self.fc2_lif = Lif()

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """[B, N, C] counts → [B, N, C] counts."""
        y = self.fc1_lif(self.fc1_conv(x), self.fc1_bn, stream)
        return x + self.fc2_lif(self.fc2_conv(y), self.fc2_bn, stream)


class Block(nn.Module):
    """Attention (or LMU), then MLP, each with its own residual."""

    def __init__(self, attn: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.attn, self.mlp = attn, mlp

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """[B, N, C] → [B, N, C]."""
        return self.mlp(self.attn(x, stream), stream)


class _Classifier(Temporal):
    """``forward``: logits of a whole sequence. ``step``: prefix logits of a stream."""

    delay = 0
    seq_len: int
    features: int

    def frame_logits(self, x: Tensor, stream: Stream | None) -> Tensor:
        """[B, N, F] → logits of every step [B, N, classes]."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, F] → logits [B, classes]: the mean over time."""
        return self.frame_logits(x, None).mean(dim=1)

    def step(self, x: Tensor, stream: Stream) -> Tensor:
        """[B, 1, F] → logits [B, classes]: the mean over the steps so far."""
        logits = self.frame_logits(x, stream).squeeze(1)
        valid = stream.valid
        total = stream.read("logits.sum", logits.shape, torch.float32) + logits * valid.float()
        steps = stream.read("logits.steps", (1,), torch.int32) + valid
        stream.write("logits.sum", total)
        stream.write("logits.steps", steps)
        # not clamp(min=1): TVM imports an open upper bound as an infinite integer
        return total / torch.maximum(steps, torch.ones_like(steps)).float()


class LmuFormer(_Classifier):
    """The four Speech Commands variants; input [B, N, F], N = seq_len."""

    def __init__(self, variant: str, hp: Hparams) -> None:
        super().__init__()
        self.variant, self.seq_len, self.features = variant, hp.seq_len, hp.in_channels
        self.delay = 5  # four convolutions and the position encoding
        membrane = variant in ("spiking-ms", "spiking-attention")
        self.patch_embed = (
            PlainEmbed(hp) if variant == "plain" else SpikingEmbed(hp, membrane=membrane)
        )
        attention = {
            "plain": PlainAttention,
            "spiking-ms": MembraneAttention,
            "spiking": SpikeCountAttention,
            "spiking-attention": SelfAttention,
        }[variant]
        mlp = PlainMlp if variant == "plain" else MembraneMlp if membrane else SpikeCountMlp
        self.block = nn.ModuleList(Block(attention(hp), mlp(hp)) for _ in range(hp.depth))
        if membrane:
            self.head_bn, self.head_lif = BatchNorm(hp.dim), Lif()
        spikes = None if variant == "plain" else "binary" if membrane else "counts"
        self.head = SpikeLinear(hp.dim, hp.num_classes, spikes)
        self.membrane = membrane

    def frame_logits(self, x: Tensor, stream: Stream | None) -> Tensor:
        """[B, N, F] → [B, N, classes]."""
        x = self.patch_embed(x, stream)
        for block in self.block:
            x = block(x, stream)
        if self.membrane:
            x = self.head_lif(x, self.head_bn, stream)
        return self.head(x)


class PixelPlain(_Classifier):
    """psMNIST, plain: conv 1×1 → BN → LMU → mean → classifier."""

    CHANNELS = 3

    def __init__(self, hp: PixelHparams) -> None:
        super().__init__()
        self.seq_len, self.features = hp.seq_len, hp.in_channels
        self.conv1 = PointConv(hp.in_channels, self.CHANNELS, spikes=None)
        self.bn1 = BatchNorm(self.CHANNELS)
        self.lmu_fft = PlainCell(
            self.CHANNELS, hp.hidden_size, hp.memory_size, hp.theta, hp.seq_len
        )
        self.classifier = nn.Linear(hp.hidden_size, hp.num_classes)

    def frame_logits(self, x: Tensor, stream: Stream | None) -> Tensor:
        """[B, N, 1] → [B, N, classes]."""
        return self.classifier(self.lmu_fft(self.conv1(x, self.bn1), stream))


class PixelSpiking(_Classifier):
    """psMNIST, spiking: LMU with LIF on u and h, classifier on the last h."""

    last_only = True  # logits are those of the last step, not a mean

    def __init__(self, hp: PixelHparams) -> None:
        super().__init__()
        self.seq_len, self.features = hp.seq_len, hp.in_channels
        self.lmu_fft = PixelCell(
            hp.in_channels, hp.hidden_size, hp.memory_size, hp.theta, hp.seq_len
        )
        self.classifier = SpikeLinear(hp.hidden_size, hp.num_classes, "binary")

    def frame_logits(self, x: Tensor, stream: Stream | None) -> Tensor:
        """[B, N, 1] → [B, N, classes]."""
        return self.classifier(self.lmu_fft(x, stream))

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, 1] → logits [B, classes] of the last step."""
        return self.classifier(self.lmu_fft(x)[:, -1:]).squeeze(1)

    def step(self, x: Tensor, stream: Stream) -> Tensor:
        """[B, 1, 1] → logits [B, classes] of this step."""
        return self.frame_logits(x, stream).squeeze(1)
