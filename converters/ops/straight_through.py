"""Straight-through estimators: gradients of sign and step functions for training.

Forward is the exact function; backward pretends that it was a clipped identity (Bengio et al. 2013;
Hubara et al. 2016): d sign(x)/dx := 1 where |x| ≤ 1, else 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """sign(x) of any shape, sign(0) = 0."""
        ctx.save_for_backward(x)
        return torch.sign(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """The incoming gradient where |x| ≤ 1."""
        (x,) = ctx.saved_tensors
        return grads[0] * (x.abs() <= 1)


def sign_ste(x: Tensor) -> Tensor:
    """sign(x), any shape; its gradient is that of ``clip(x, -1, 1)``."""
    result: Tensor = _Sign.apply(x)
    return result


def straight_through(exact: Tensor, smooth: Tensor) -> Tensor:
    """The value of ``exact`` with the gradient of ``smooth`` (same shape)."""
    return smooth + (exact - smooth).detach()
