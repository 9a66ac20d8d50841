"""NumPy references of ``lmu_memory`` and ``lmu_step``."""

from __future__ import annotations

import numpy as np


def lmu_memory_reference(u: np.ndarray, impulse: np.ndarray) -> np.ndarray:
    """m [B, N, M] from u [B, N] and the impulse response [L, M], N ≤ L."""
    batch, steps = u.shape
    m = np.zeros((batch, steps, impulse.shape[1]), impulse.dtype)
    for t in range(steps):
        m[:, t] = u[:, : t + 1].astype(impulse.dtype) @ impulse[t::-1][: t + 1]
    return m


def lmu_step_reference(
    u: np.ndarray,
    impulse: np.ndarray,
    a_transposed: np.ndarray,
    b: np.ndarray,
    history: np.ndarray,
    m: np.ndarray,
    t: np.ndarray,
    valid: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One step; operands and results as in the package docstring."""
    if not valid[0]:
        return m[:, None], history, m, t
    now = int(t[0])
    if now < len(impulse):
        history = history.copy()
        history[:, now] = u[:, 0]
        new = lmu_memory_reference(history[:, : now + 1], impulse)[:, -1]
    else:
        new = m @ a_transposed + u.astype(m.dtype) * b
    return new[:, None], history, new, t + 1
