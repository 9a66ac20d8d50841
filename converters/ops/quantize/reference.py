"""NumPy reference of ``quantize``."""

from __future__ import annotations

import numpy as np


def quantize_reference(x: np.ndarray, scale: float) -> np.ndarray:
    """int8 of x (float32), in units of ``scale``."""
    v = np.clip(x * np.float32(1.0 / scale), np.float32(-127), np.float32(127))
    return np.trunc(v + np.where(v >= 0, np.float32(0.5), np.float32(-0.5))).astype(np.int8)
