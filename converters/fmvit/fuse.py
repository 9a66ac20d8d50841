"""Exact rules that turn the training form into the deployed form: norms and branches disappear.

A batch norm in inference is y = s·x + t with s = γ/√(σ² + ε) and t = β − μ·s, per channel.

- behind a convolution: W' = s·W, b' = s·b + t;
- in front of a 1×1 convolution: W' = W·s (per input channel), b' = b + W·t. Average pooling between
  the two changes nothing, since the mean of s·x + t is s·mean(x) + t. It does not hold in front of
  a zero-padded k×k convolution: outside the image the convolution sees 0, where the norm gives t.
- Convolutions of the same input add up to one: kernels with g₁, g₂, … groups are written
  block-diagonally with g = gcd(g₁, g₂, …) groups, 1×1 kernels become the centre tap, an identity
  becomes a delta at the centre, and then W and b are added.

Sums are formed in float64 and rounded once. Structural reparameterization after arXiv 2101.03697.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(s [C], t [C]) of a batch norm in inference, float64."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    s = norm.weight.double() / torch.sqrt(variance + norm.eps)
    return s, norm.bias.double() - mean * s


def norm_after(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(W', b') float64 of convolution ``weight`` [O, I/g, k, k] followed by ``norm``."""
    s, t = affine(norm)
    shift = t if bias is None else bias.double() * s + t
    return weight.double() * s[:, None, None, None], shift


def norm_before(norm: nn.BatchNorm2d, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """(W', b') float64 of ``norm`` followed by a 1×1 convolution or linear layer [O, I(, 1, 1)]."""
    if weight.dim() == 4 and weight.shape[2:] != (1, 1):
        raise ValueError("a norm in front of a padded k×k convolution cannot be folded into it")
    s, t = affine(norm)
    matrix = weight.double().reshape(weight.shape[0], -1)
    shift = matrix @ t
    if bias is not None:
        shift = shift + bias.double()
    return (matrix * s).reshape(weight.shape), shift


def expand_groups(weight: Tensor, groups: int, target: int) -> Tensor:
    """Kernel [O, I/groups, k, k] of ``groups`` groups written with ``target`` ≤ ``groups`` groups.

    ``target`` must divide ``groups``: groups/target blocks stand on the diagonal of each new group.
    """
    if groups % target:
        raise ValueError(f"{groups} groups cannot be written as {target}")
    merged = groups // target
    out, width = weight.shape[:2]
    result = weight.new_zeros(out, width * merged, *weight.shape[2:])
    for group in range(groups):
        rows = slice(group * out // groups, (group + 1) * out // groups)
        start = group % merged * width
        result[rows, start : start + width] = weight[rows]
    return result


def centre(weight: Tensor, size: int) -> Tensor:
    """A kernel [O, I/g, k, k] in the middle of one of ``size`` × ``size``; both sizes are odd."""
    margin = (size - weight.shape[-1]) // 2
    return F.pad(weight, (margin, margin, margin, margin))


def identity_kernel(channels: int, groups: int, size: int) -> Tensor:
    """The kernel [C, C/groups, size, size] float64 that passes its input on."""
    width = channels // groups
    kernel = torch.zeros(channels, width, size, size, dtype=torch.float64)
    index = torch.arange(channels)
    kernel[index, index % width, size // 2, size // 2] = 1
    return kernel


def add_branches(branches: Sequence[tuple[Tensor, Tensor, int]]) -> tuple[Tensor, Tensor, int]:
    """Branches (W [O, I/g, k, k], b [O], g) with equal O, I as one: (W, b, gcd of all g)."""
    groups = math.gcd(*(g for *_, g in branches))
    size = max(weight.shape[-1] for weight, *_ in branches)
    kernels = [expand_groups(weight, g, groups) for weight, _, g in branches]
    padded = [centre(kernel, size) if kernel.shape[-1] < size else kernel for kernel in kernels]
    return torch.stack(padded).sum(0), torch.stack([b for _, b, _ in branches]).sum(0), groups
