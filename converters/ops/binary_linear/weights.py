"""Binary weights from real ones: exactly, and with straight-through gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from millijoule.converters.ops.straight_through import sign_ste

SPANS = ("row", "all")  # what a mean is taken over: each output row, or the whole matrix


def _mean(x: Tensor, span: str) -> Tensor:
    """[O, 1] or [1, 1]."""
    if span not in SPANS:
        raise ValueError(f"span must be one of {SPANS}, but is {span!r}")
    return x.mean(dim=1, keepdim=True) if span == "row" else x.mean().reshape(1, 1)


def binarize(weight: Tensor, *, centre: str = "row", scale: str = "row") -> tuple[Tensor, Tensor]:
    """(w int8 [O, K] in {-1, 0, +1}, α [O] or [1]) of real weights [O, K].

    ``centre``, ``scale``: "row" or "all", what the mean of W and the mean of |W| are taken over.
    """
    with torch.no_grad():
        signs = torch.sign(weight - _mean(weight, centre)).to(torch.int8)
        return signs, _mean(weight.abs(), scale).flatten()


def binarize_ste(
    weight: Tensor, *, centre: str = "row", scale: str | None = "row"
) -> tuple[Tensor, Tensor | None]:
    """`binarize` for training: signs in the type of ``weight``, gradients straight through.

    The scale has its true gradient; ``scale=None`` leaves it out, for layers that learn it.
    """
    signs = sign_ste(weight - _mean(weight, centre))
    return signs, None if scale is None else _mean(weight.abs(), scale).flatten()
