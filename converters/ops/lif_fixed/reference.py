"""NumPy reference of ``lif_fixed``: the equations of the package docstring in int64."""

from __future__ import annotations

import numpy as np

from millijoule.converters.ops.lif.rule import LifRule


def scaled(value: np.ndarray, factor: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``value·factor / 2**right`` rounded to nearest, ties upwards; all int64."""
    return (value * factor + (np.int64(1) << (right - 1))) >> right


def lif_fixed_reference(
    x: np.ndarray,
    params: np.ndarray,
    state: np.ndarray,
    valid: np.ndarray | None = None,
    rule: LifRule = LifRule(),  # noqa: B008 - frozen dataclass
) -> tuple[np.ndarray, np.ndarray]:
    """Return (spikes uint8 [B, N, C], state' int32 [B, S, C])."""
    multiplier, right, shift, decay, threshold, reset, synapse = params.astype(np.int64)
    unit = np.full_like(right, 15)
    v = state[:, 0].astype(np.int64)
    current = state[:, 1].astype(np.int64) if rule.synaptic else None
    spikes = np.zeros(x.shape, np.uint8)

    def fires(u: np.ndarray) -> np.ndarray:
        return u > threshold if rule.strict else u >= threshold

    for t in range(x.shape[1]):
        if valid is not None and not valid[t]:
            continue
        z = scaled(x[:, t].astype(np.int64), multiplier, right) + shift
        if current is not None:
            z = current = scaled(current, synapse, unit) + z
        u = v + scaled(z - v, decay, unit) if rule.charge == "blend" else scaled(v, decay, unit) + z
        before = fires(v)
        if rule.looks_back:
            u = np.where(before, 0, u) if rule.reset == "zero" else u - before * threshold
        spike = fires(u)
        spikes[:, t] = spike
        if rule.reset == "settle":
            u = u - (spike.astype(np.int64) - before) * threshold
        elif not rule.delayed and rule.reset == "zero":
            u = np.where(spike, reset, u)
        elif not rule.delayed and rule.reset == "subtract":
            u = u - spike * threshold
        v = u
    rows = [v] if current is None else [v, current]
    return spikes, np.stack(rows, axis=1).astype(np.int32)
