"""NumPy reference of ``binary_embedding``."""

from __future__ import annotations

import numpy as np


def binary_embedding_reference(ids: np.ndarray, w: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """y [..., H] float32 from ids [...], w int8 [V, H], scale [V]."""
    rows = np.clip(ids, 0, len(w) - 1)
    return w[rows].astype(np.float32) * scale[rows][..., np.newaxis]
