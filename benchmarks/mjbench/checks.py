"""Contenders must compute the same thing before their times mean anything."""

from __future__ import annotations

import numpy as np

TOLERANCE = 1e-4


def require_close(what: str, value: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference; RuntimeError if it exceeds `TOLERANCE` × (1 + |expected|)."""
    if value.shape != expected.shape:
        raise RuntimeError(f"{what} has shape {value.shape}, but must have {expected.shape}")
    error = np.abs(value - expected)
    if not (error <= TOLERANCE * (1 + np.abs(expected))).all():
        raise RuntimeError(f"{what} differs by {error.max():.3g} from what it must compute")
    return float(error.max())
