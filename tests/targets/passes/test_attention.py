"""What becomes one attention kernel without transposes around it, and what does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fixtures.programs import check_built, plan_of

HEADS, WIDTH, ROWS = 2, 8, 9


class Net(nn.Module):
    """q, k and v as the heads of one projection or of three, put together by a function."""

    def __init__(self, wiring: Callable[[Net, Tensor], object]) -> None:
        super().__init__()
        torch.manual_seed(0)
        size = HEADS * WIDTH
        self.qkv, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.q, self.k, self.v = (nn.Linear(size, size) for _ in range(3))
        self.bias = nn.Parameter(torch.randn(1, HEADS, ROWS, ROWS))
        self.mha = nn.MultiheadAttention(size, HEADS, batch_first=True)
        self._wiring = wiring

    def forward(self, x: Tensor) -> object:
        return self._wiring(self, x)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One projection, as timm's vision transformers have it."""
        qkv = self.qkv(x).reshape(*x.shape[:2], 3, HEADS, WIDTH).permute(2, 0, 3, 1, 4)
        return qkv.unbind(0)

    def join(self, y: Tensor) -> Tensor:
        """Heads side by side, through the last projection."""
        return self.out(y.transpose(1, 2).reshape(y.shape[0], ROWS, -1))


def fused(net: Net, x: Tensor) -> Tensor:
    return net.join(F.scaled_dot_product_attention(*net.heads(x)))


def spelled_out(net: Net, x: Tensor) -> Tensor:
    q, k, v = net.heads(x)
    scores = (q * WIDTH**-0.5) @ k.transpose(-2, -1)
    return net.join(scores.softmax(dim=-1) @ v)


def indexed(net: Net, x: Tensor) -> Tensor:
    """As older models index the projection, with a scale behind and a bias per head."""
    qkv = net.qkv(x).reshape(*x.shape[:2], 3, HEADS, WIDTH).permute(2, 0, 3, 1, 4)
    q, k, v = qkv[0], qkv[1], qkv[2]
    scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(WIDTH) + net.bias
    return net.join(torch.matmul(F.softmax(scores, dim=-1), v))


def separate(net: Net, x: Tensor, **options: object) -> Tensor:
    """As encoders of text have it."""
    q, k, v = (
        layer(x).view(x.shape[0], ROWS, HEADS, WIDTH).transpose(1, 2)
        for layer in (net.q, net.k, net.v)
    )
    return net.join(F.scaled_dot_product_attention(q, k, v, **options))  # type: ignore[arg-type]


def causal(net: Net, x: Tensor) -> Tensor:
    return separate(net, x, is_causal=True, scale=0.4)


def masked(net: Net, x: Tensor) -> Tensor:
    """A boolean mask that the input decides on; no row is all False."""
    seen = (x[:, :, 0] > 0)[:, None, None, :] | torch.eye(ROWS, dtype=torch.bool)
    return separate(net, x, attn_mask=seen)


def filled(net: Net, x: Tensor) -> Tensor:
    q, k, v = net.heads(x)
    scores = q @ k.transpose(-2, -1) * WIDTH**-0.5
    later = torch.ones(ROWS, ROWS, dtype=torch.bool).triu(1)
    scores = scores.masked_fill(later, float("-inf"))
    return net.join(scores.softmax(dim=-1) @ v)


def module(net: Net, x: Tensor) -> Tensor:
    return net.mha(x, x, x, need_weights=False)[0]


def grouped(net: Net, x: Tensor) -> Tensor:
    """Two queries for one key and value."""
    q, k, v = net.heads(x)
    y = F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], enable_gqa=True)
    return net.join(y)


@pytest.mark.parametrize(
    "wiring", [fused, spelled_out, indexed, separate, causal, masked, filled, module, grouped]
)
def test_attention_is_one_kernel(wiring: Callable[[Net, Tensor], object], tmp_path: Path) -> None:
    torch.manual_seed(1)
    x = torch.randn(2, ROWS, HEADS * WIDTH)
    plan = plan_of(Net(wiring), x)
    names = [call.meta.op for call in plan.calls]
    assert names.count("attention") == 1
    if wiring in (fused, spelled_out, indexed, causal):
        assert set(names) <= {"linear", "attention"}, "nothing is copied around it"
    check_built(Net(wiring), [x], tmp_path / "net.mjb")


def weights_too(net: Net, x: Tensor) -> tuple[Tensor, Tensor]:
    q, k, v = net.heads(x)
    weights = (q @ k.transpose(-2, -1) * WIDTH**-0.5).softmax(dim=-1)
    return weights @ v, weights


def over_queries(net: Net, x: Tensor) -> Tensor:
    q, k, v = net.heads(x)
    return (q @ k.transpose(-2, -1)).softmax(dim=-2) @ v


def sigmoid(net: Net, x: Tensor) -> Tensor:
    q, k, v = net.heads(x)
    return (q @ k.transpose(-2, -1)).sigmoid() @ v


@pytest.mark.parametrize("wiring", [weights_too, over_queries, sigmoid])
def test_other_products_stay(wiring: Callable[[Net, Tensor], object], tmp_path: Path) -> None:
    """Weights that are returned, a softmax over queries, and no softmax at all."""
    x = torch.randn(2, ROWS, HEADS * WIDTH)
    assert "attention" not in [call.meta.op for call in plan_of(Net(wiring), x).calls]
    check_built(Net(wiring), [x], tmp_path / "net.mjb")


def test_layers_are_named_and_counted() -> None:
    calls = plan_of(Net(fused), torch.randn(2, ROWS, HEADS * WIDTH)).calls
    (call,) = [c for c in calls if c.meta.op == "attention"]
    assert call.meta.multiplies == 2 * HEADS * ROWS * ROWS * 2 * WIDTH
