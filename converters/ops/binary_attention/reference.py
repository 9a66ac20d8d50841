"""NumPy reference of ``binary_attention``."""

from __future__ import annotations

import math

import numpy as np

from millijoule.converters.ops.binary_attention.rule import int_threshold


def binary_attention_reference(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    *,
    rule: str,
    heads: int,
    low: np.ndarray | None = None,
    scales: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(ctx float32 [B, N, D], A uint8 [B, heads, N, N]); integers are exact, the rest float64."""
    d = q.shape[-1] // heads
    signs = [_split(np.sign(t).astype(np.int64), heads) for t in (q, k, v)]
    s = signs[0] @ signs[1].swapaxes(-1, -2)
    if rule == "threshold":
        a = s.max(-1, keepdims=True) - s <= int_threshold(d)
        return _merge(a @ signs[2]), a.astype(np.uint8)
    added = 0.0 if mask is None else mask.astype(np.float64)[:, None, None, :]
    if rule == "bool":
        a = s / math.sqrt(d) + added > 0
        return _merge(a @ signs[2]), a.astype(np.uint8)
    assert low is not None
    assert scales is not None
    q_m, q_p, k_m, k_p, v_p = np.moveaxis(low.astype(np.float64), -1, 0)[:, :, None]
    rank_one = _outer(q_m, k_p) + _outer(q_p, k_m) + _outer(q_p, k_p)
    alpha_qk, alpha_attn, alpha_v = scales.astype(np.float64)
    logits = (alpha_qk * s + rank_one) / math.sqrt(d) + added
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    a = weights / weights.sum(-1, keepdims=True) / alpha_attn > 0.5
    context = alpha_attn * alpha_v * (a @ signs[2])
    return _merge(context + alpha_attn * (a @ v_p[..., None])), a.astype(np.uint8)


def _split(x: np.ndarray, heads: int) -> np.ndarray:
    """[B, N, D] → [B, heads, N, d]."""
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def _merge(x: np.ndarray) -> np.ndarray:
    """[B, heads, N, d] → float32 [B, N, D]."""
    merged = x.swapaxes(1, 2)
    return merged.reshape(*merged.shape[:2], -1).astype(np.float32)


def _outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[B, 1, N] twice → [B, 1, N, N]."""
    return a[..., :, None] * b[..., None, :]
