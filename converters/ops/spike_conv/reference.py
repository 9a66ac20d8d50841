"""NumPy reference of ``spike_conv``."""

from __future__ import annotations

import numpy as np


def spike_conv_reference(s: np.ndarray, w: np.ndarray, padding: int) -> np.ndarray:
    """y [B, N + 2·padding − K + 1, O] from spikes s [B, N, C] and w [K, C, O]."""
    taps, w = len(w), w.astype(np.int32) if w.dtype == np.int8 else w
    padded = np.pad(s, ((0, 0), (padding, padding), (0, 0))).astype(w.dtype)
    steps = padded.shape[1] - taps + 1
    return sum(padded[:, k : k + steps] @ w[k] for k in range(taps))
