"""NumPy reference of ``lif``: the equations of the package docstring, one line each."""

from __future__ import annotations

import numpy as np

from millijoule.converters.ops.lif.rule import LifRule


def lif_reference(
    x: np.ndarray,
    params: np.ndarray,
    state: np.ndarray,
    valid: np.ndarray | None = None,
    rule: LifRule = LifRule(),  # noqa: B008 - frozen dataclass
) -> tuple[np.ndarray, np.ndarray]:
    """Return (spikes uint8 [B, N, C], state' float32 [B, S, C]); arithmetic in x's float type."""
    return lif_record_reference(x, params, state, valid, rule)[:2]


def lif_record_reference(
    x: np.ndarray,
    params: np.ndarray,
    state: np.ndarray,
    valid: np.ndarray | None = None,
    rule: LifRule = LifRule(),  # noqa: B008 - frozen dataclass
    record: str = "after",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (spikes uint8 [B, N, C], state' float32 [B, S, C], membrane float32 [B, N, C])."""
    scale, shift, decay, threshold, reset, synapse = params.astype(x.dtype)
    v = state[:, 0].astype(x.dtype)
    current = state[:, 1].astype(x.dtype) if rule.synaptic else None
    spikes = np.zeros(x.shape, np.uint8)
    membrane = np.zeros(x.shape, np.float32)

    def fires(u: np.ndarray) -> np.ndarray:
        return u > threshold if rule.strict else u >= threshold

    for t in range(x.shape[1]):
        if valid is not None and not valid[t]:
            membrane[:, t] = v
            continue
        z = x[:, t] * scale + shift
        if current is not None:
            current = synapse * current + z
            z = current
        u = v + (z - v) * decay if rule.charge == "blend" else decay * v + z
        before = fires(v)
        if rule.looks_back:
            u = np.where(before, 0, u) if rule.reset == "zero" else u - before * threshold
        spike = fires(u)
        spikes[:, t], membrane[:, t] = spike, u
        if rule.reset == "settle":
            u = u - (spike.astype(x.dtype) - before) * threshold
        elif not rule.delayed and rule.reset == "zero":
            u = np.where(spike, reset, u)
        elif not rule.delayed and rule.reset == "subtract":
            u = u - spike * threshold
        v = u
        if record == "after":
            membrane[:, t] = v
    rows = [v] if current is None else [v, current]
    return spikes, np.stack(rows, axis=1).astype(np.float32), membrane
