"""Handwritten digits of scikit-learn: 1,797 real 8×8 images (UCI, E. Alpaydin and C. Kaynak).

They come in the order of their writers, so the last fifth is by writers who are hardly in the rest:
it is held out whole. Images are enlarged to 16×16 by bilinear interpolation.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 16
HELD_OUT = 360
_MEAN, _DEVIATION = 0.3, 0.35  # of pixels, about


def prepare(images: np.ndarray) -> Tensor:
    """[rows, 8, 8] of 0…16 → what the model takes, float32 [rows, 1, 16, 16]."""
    x = torch.from_numpy(images.astype(np.float32) / 16)[:, None]
    x = F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return (x - _MEAN) / _DEVIATION


def load() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(images [rows, 1, 16, 16], labels [rows]) to train with, and held out."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, y = prepare(digits.images), torch.from_numpy(digits.target)
    return (x[:-HELD_OUT], y[:-HELD_OUT]), (x[-HELD_OUT:], y[-HELD_OUT:])
