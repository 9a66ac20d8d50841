"""NumPy reference of ``spike_linear``."""

from __future__ import annotations

import numpy as np


def spike_linear_reference(s: np.ndarray, w: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """y [B, N, O] from spikes s [B, N, K], w [K, O], bias [O]; summed in the type of ``bias``."""
    return s.astype(bias.dtype) @ w.astype(bias.dtype) + bias
