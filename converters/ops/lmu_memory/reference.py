"""NumPy references of ``lmu_memory`` and ``lmu_step``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from millijoule.converters.ops.lmu_memory.op import MEMORY_BITS


def lmu_memory_reference(u: np.ndarray, impulse: np.ndarray) -> np.ndarray:
    """m [B, N, M] from u [B, N] and the impulse response [L, M], N ≤ L; int32 if that is int8."""
    if impulse.dtype == np.int8:
        return lmu_memory_reference(u, impulse.astype(np.int32)) << MEMORY_BITS
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

    def recurrence() -> np.ndarray:
        return m @ a_transposed + u.astype(m.dtype) * b

    return _step(u, impulse, history, m, t, valid, recurrence)


def lmu_step_fixed_reference(
    u: np.ndarray,
    impulse: np.ndarray,
    a_transposed: np.ndarray,
    right: np.ndarray,
    b: np.ndarray,
    history: np.ndarray,
    m: np.ndarray,
    t: np.ndarray,
    valid: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One step on integers; operands and results as in the package docstring."""

    def recurrence() -> np.ndarray:
        wide = right.astype(np.int64)
        carried = m.astype(np.int64) @ a_transposed.astype(np.int64)
        carried = (carried + (np.int64(1) << (wide - 1))) >> wide
        return (carried + u.astype(np.int64) * b).astype(np.int32)

    return _step(u, impulse, history, m, t, valid, recurrence)


def _step(
    u: np.ndarray,
    impulse: np.ndarray,
    history: np.ndarray,
    m: np.ndarray,
    t: np.ndarray,
    valid: np.ndarray,
    recurrence: Callable[[], np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Nothing where not valid; the finite form within its length; then the recurrence."""
    if not valid[0]:
        return m[:, None], history, m, t
    now = int(t[0])
    if now < len(impulse):
        history = history.copy()
        history[:, now] = u[:, 0]
        new = lmu_memory_reference(history[:, : now + 1], impulse)[:, -1]
    else:
        new = recurrence()
    return new[:, None], history, new, t + 1
