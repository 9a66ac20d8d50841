"""NumPy reference of ``binary_linear``."""

from __future__ import annotations

import numpy as np


def binary_linear_reference(
    x: np.ndarray, w: np.ndarray, scale: np.ndarray, bias: np.ndarray, activations: str = "sign"
) -> np.ndarray:
    """y [..., O] float32 from x [..., K], w int8 [O, K], scale [O] or [1], bias [O].

    Sums of signs are exact integers; sums of real activations are in float64.
    """
    if activations == "sign":
        total = np.sign(x).astype(np.int64) @ w.T.astype(np.int64)
        return total.astype(np.float32) * scale + bias
    total = x.astype(np.float64) @ w.T.astype(np.float64)
    return (total * scale + bias).astype(np.float32)
