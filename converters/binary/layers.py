"""Layers with one-bit weights. Sequences are [B, N, C].

Parameters carry the authors' names and are real: signs and scales are derived from them in every
forward pass, with straight-through gradients while training. `freeze` derives them once and drops
the real weights, which is what gets deployed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from millijoule.converters.ops import (
    binarize,
    binarize_ste,
    binary_embedding,
    binary_linear,
)
from millijoule.converters.ops.straight_through import sign_ste

INITIALIZER_RANGE = 0.02
LAYER_NORM_EPS = 1e-12
SMALLEST_ALPHA = 1e-5  # BiPFT's lower bound of a learned scale
# The largest float32 x with 1 + erf(x/√2) = 0 when erf is rounded correctly: GELU(x) is 0 from
# there down. Implementations of erf differ by some hundredths in where that happens.
GELU_ZERO = -5.5425944


class Frozen(nn.Module):
    """A layer whose ``weight`` is binarized; ``centre`` and ``span`` as in `ops.binarize`."""

    weight: Tensor | None
    centre: str = "row"
    span: str = "row"

    def binary_weight(self) -> tuple[Tensor, Tensor]:
        """(w int8, α) of the real weights, or what `freeze` kept of them."""
        if self.weight is None:
            return self.get_buffer("signs"), self.get_buffer("alpha")
        return binarize(self.weight, centre=self.centre, scale=self.span)

    def freeze(self) -> None:
        """Keep signs and scales as buffers, and no real weights."""
        signs, alpha = self.binary_weight()
        self.register_buffer("signs", signs)
        self.register_buffer("alpha", alpha)
        self.weight = None


class BinaryLinear(Frozen):
    """BiBERT's and BiViT's linear layer: y = α_o · Σ a · sign(W_o − mean W_o) + b.

    ``activations``: "sign" or "real". ``learned``: a parameter ``scaling_factor [out, 1]`` in place
    of α_o = mean |W_o|.
    """

    def __init__(
        self, inputs: int, outputs: int, *, activations: str = "sign", learned: bool = False
    ) -> None:
        super().__init__()
        self.activations = activations
        self.weight = nn.Parameter(torch.empty(outputs, inputs).normal_(0, INITIALIZER_RANGE))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scaling_factor: nn.Parameter | None = None
        if learned:
            start = self.weight.detach().abs().mean(1, keepdim=True)
            self.scaling_factor = nn.Parameter(start)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] → [..., outputs]."""
        if self.training and self.weight is not None:
            return self._train(x, self.weight)
        w, alpha = self.binary_weight()
        if self.scaling_factor is not None:
            alpha = self.scaling_factor.flatten()
        return binary_linear(x, w, alpha, self.bias, activations=self.activations)

    def _train(self, x: Tensor, weight: Tensor) -> Tensor:
        w, alpha = binarize_ste(weight, centre=self.centre, scale=self.span)
        if self.scaling_factor is not None:
            alpha = self.scaling_factor.flatten()
        assert alpha is not None
        a = sign_ste(x) if self.activations == "sign" else x
        return F.linear(a, w) * alpha + self.bias


class Move(nn.Module):
    """A learned shift of the inputs, so that their signs are balanced."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """x + bias, [..., width]."""
        return x + self.bias


class ShiftedBinaryLinear(BinaryLinear):
    """BiPFT's linear layer: one α for the weights, one learned α_a for the shifted inputs' signs.

    y = α_a · α_w · Σ sign(x + move) · sign(W − mean W) + b, both means over the whole matrix.
    """

    centre = "all"
    span = "all"

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.move = Move(inputs)
        self.input_clip_val = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] → [..., outputs]."""
        x = self.move(x)
        alpha_a = self.input_clip_val.clamp(min=SMALLEST_ALPHA)
        if self.training and self.weight is not None:
            w, alpha_w = binarize_ste(self.weight, centre=self.centre, scale=self.span)
            assert alpha_w is not None
            return F.linear(sign_ste(x) * alpha_a, w * alpha_w) + self.bias
        w, alpha_w = self.binary_weight()
        return binary_linear(x, w, alpha_w * alpha_a, self.bias)


class BinaryEmbedding(Frozen):
    """Rows of signs with mean |row| as scale; centred per row, or by the mean of all (BiPFT)."""

    is_lookup = True

    def __init__(self, rows: int, width: int, centre: str) -> None:
        super().__init__()
        self.centre = centre
        self.weight = nn.Parameter(torch.empty(rows, width).normal_(0, INITIALIZER_RANGE))

    def forward(self, ids: Tensor) -> Tensor:
        """[...] int → [..., width]."""
        if self.training and self.weight is not None:
            w, alpha = binarize_ste(self.weight, centre=self.centre, scale=self.span)
            assert alpha is not None
            return F.embedding(ids, w * alpha[:, None])
        return binary_embedding(ids, *self.binary_weight())


def gelu_sign(x: Tensor) -> Tensor:
    """A tensor with the signs of GELU(x), for layers that see nothing else: no erf is computed.

    GELU(x) = x·Φ(x) has the sign of x, but is 0 in float32 from `GELU_ZERO` down.
    """
    return torch.where(x > GELU_ZERO, x, 0.0)


def freeze(module: nn.Module) -> nn.Module:
    """Replace all real weights of binary layers by signs and scales, in place."""
    for layer in module.modules():
        if isinstance(layer, Frozen):
            layer.freeze()
    return module
