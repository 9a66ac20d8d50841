"""Integer constants of a Legendre memory: impulse response int8, recurrence int16."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from millijoule.converters.ops.lmu_memory import MEMORY_BITS
from millijoule.errors import UnsupportedError
from millijoule.targets.passes.quantize.numbers import (
    INT32_LIMIT,
    MAX_SHIFT,
    Weights,
    fixed,
    quantize_weights,
    round_half_away,
)

_TRANSITION_BITS = 15
_HORIZON = 16  # times the length of the impulse response, where its tail has died away


@dataclass(frozen=True)
class FixedMemory:
    """Operands of ``lmu_step_fixed``; one unit of memory column i is worth ``scale[i]``."""

    impulse: Weights
    a_transposed: np.ndarray
    right: np.ndarray
    b: np.ndarray
    scale: np.ndarray
    bound: int


def impulse_weights(impulse: np.ndarray) -> tuple[Weights, np.ndarray, int]:
    """int8 impulse response [L, M], the worth of a memory unit [M], and the largest memory."""
    weights = quantize_weights(impulse, 1)
    bound = int(np.abs(weights.values.astype(np.int64)).sum(0).max()) << MEMORY_BITS
    return weights, weights.scale / (1 << MEMORY_BITS), bound


def fixed_memory(
    impulse: np.ndarray, a_transposed: np.ndarray, b: np.ndarray, layer: str
) -> FixedMemory:
    """Constants for impulse response [L, M], transition AT [M, M] and input B [M].

    Raises UnsupportedError naming ``layer`` if rounding makes the recurrence unstable or its
    memory outgrows int32.
    """
    weights, scale, finite = impulse_weights(impulse)
    # in units of each column: m'_i = Σ_j A_ij (s_j / s_i) m_j
    units = a_transposed.astype(np.float64) * scale[:, None] / scale[None, :]
    peak = np.maximum(np.abs(units).max(axis=0), 2.0**-40)
    right = np.clip(_TRANSITION_BITS - np.ceil(np.log2(peak)).astype(np.int64), 1, MAX_SHIFT)
    right = np.where(np.ldexp(peak, right) > 2**_TRANSITION_BITS - 1, right - 1, right)
    transition = round_half_away(np.ldexp(units, right[None, :]))
    if right.min() < 1 or np.abs(transition).max() > 2**_TRANSITION_BITS - 1:
        raise UnsupportedError(
            f"[quantize] memory {layer!r} has a transition of {peak.max():.3g}, which int16 cannot "
            "hold; build it with dtype float32"
        )
    drive = fixed(b / scale, 0)
    bound = _check_recurrence(np.ldexp(transition, -right[None, :]), drive, layer)
    return FixedMemory(
        impulse=weights,
        a_transposed=transition.astype(np.int16),
        right=right.astype(np.int32),
        b=drive.astype(np.int32),
        scale=scale,
        bound=max(bound, finite),
    )


def _check_recurrence(transition: np.ndarray, drive: np.ndarray, layer: str) -> int:
    """Largest memory that spikes can build up through the rounded recurrence."""
    radius = float(np.abs(np.linalg.eigvals(transition)).max())
    if radius >= 1:
        raise UnsupportedError(
            f"[quantize] memory {layer!r} does not forget any more when rounded (spectral radius "
            f"{radius:.4f}); build it with dtype float32"
        )
    row, total = drive.astype(np.float64), np.zeros(len(drive))
    # |m| ≤ Σ_k |A^k B|: sum until the rest is below one unit
    for _ in range(_HORIZON * 1024):
        total += np.abs(row)
        if np.abs(row).max() < (1 - radius) / 2:
            break
        row = row @ transition
    bound = int(np.ceil(total.max())) + 1
    if bound > INT32_LIMIT // 2:
        raise UnsupportedError(
            f"[quantize] memory {layer!r} can grow to {bound}, which is more than int32 holds; "
            "build it with dtype float32"
        )
    return bound
