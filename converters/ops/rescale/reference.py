"""NumPy reference of ``rescale``."""

from __future__ import annotations

import numpy as np

from millijoule.converters.ops.lif_fixed.reference import scaled


def rescale_reference(
    x: np.ndarray, multiplier: np.ndarray, offset: np.ndarray, right: int
) -> np.ndarray:
    """int32 [..., C] of x [..., C], multiplier [C] and offset [C], all int32."""
    product = scaled(x.astype(np.int64), multiplier.astype(np.int64), np.int64(right))
    return (product + offset).astype(np.int32)
