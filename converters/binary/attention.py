"""Self-attention of BiBERT and BiPFT; module names are the authors'."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from millijoule.converters.binary.layers import SMALLEST_ALPHA, BinaryLinear, ShiftedBinaryLinear
from millijoule.converters.ops import binary_attention
from millijoule.converters.ops.binary_attention.rule import LOW_RANK


class BiBertSelfAttention(nn.Module):
    """Signs of q, k and v; a key is attended to when its score is positive."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = BinaryLinear(width, width)
        self.key = BinaryLinear(width, width)
        self.value = BinaryLinear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, N, H], additive mask [B, N] → context [B, N, H]."""
        q, k, v = self.query(x), self.key(x), self.value(x)
        return binary_attention(q, k, v, rule="bool", heads=self.heads, mask=mask)[0]


class Together(nn.Module):
    """Linear forms in one product. It has no weights, but a path to report it under."""

    def forward(self, x: Tensor, forms: Sequence[Estimator]) -> Tensor:
        """[B, N, H] → [B, N, forms]."""
        weight = torch.cat([form.weight for form in forms])
        return F.linear(x, weight, torch.cat([form.bias for form in forms]))


class Estimator(nn.Module):
    """A linear form of the hidden state, one number per token; computed with its four siblings."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, width))
        self.bias = nn.Parameter(torch.zeros(1))


class BiPftSelfAttention(nn.Module):
    """Binary attention with a softmax and full-precision estimators of rank one."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = ShiftedBinaryLinear(width, width)
        self.key = ShiftedBinaryLinear(width, width)
        self.value = ShiftedBinaryLinear(width, width)
        for name in ("query", "key", "value", "attn"):
            self.register_parameter(f"clip_{name}", nn.Parameter(torch.tensor(1.0)))
        for name in LOW_RANK:
            self.add_module(name, Estimator(width))
        self.low_rank = Together()

    def _alpha(self, name: str) -> Tensor:
        return self.get_parameter(f"clip_{name}").clamp(min=SMALLEST_ALPHA)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, N, H], additive mask [B, N] → context [B, N, H]."""
        q, k, v = self.query(x), self.key(x), self.value(x)
        alphas = (self._alpha("query") * self._alpha("key"), self._alpha("attn"))
        scales = torch.stack([*alphas, self._alpha("value")])
        return binary_attention(
            q,
            k,
            v,
            rule="softmax",
            heads=self.heads,
            low=self.low_rank(x, [getattr(self, name) for name in LOW_RANK]),
            scales=scales,
            mask=mask,
        )[0]
