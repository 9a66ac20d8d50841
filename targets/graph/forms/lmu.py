"""The Legendre memory: a causal convolution of a sequence; gather and product for one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax

from millijoule.converters.importer import tensor_type
from millijoule.targets.graph.forms.expansion import Expansion, required_constant

op = relax.op


def lmu_memory(
    g: Expansion, attrs: dict[str, Any], operands: Sequence[relax.Expr]
) -> tuple[relax.Expr, ...]:
    """m[t] = Σ H[k] u[t−k] as a convolution of one channel with M filters, zeros in front."""
    u, impulse = operands
    steps = tensor_type(u).shape[1]
    taps = required_constant(impulse, "the impulse response")[:steps][::-1]
    kernel = relax.const(np.ascontiguousarray(taps.T[:, None, :]))  # OIW
    x = g(op.expand_dims(g.floats(u), 1))
    y = g(op.nn.conv1d(x, kernel, padding=(steps - 1, 0)))
    return (g(op.permute_dims(y, [0, 2, 1])),)


def lmu_step(
    g: Expansion, attrs: dict[str, Any], operands: Sequence[relax.Expr]
) -> tuple[relax.Expr, ...]:
    """One step; the finite form while t < L, then the recurrence. Both are calculated.

    The newest input enters the history at t; what lies behind t is zero, and rows of H before its
    first are rows of zeros, so that one gather of L rows serves every t.
    """
    u, impulse, a_t, b, history, m, t, valid = operands
    length = tensor_type(impulse).shape[0]
    h = required_constant(impulse, "the impulse response")
    u = g.floats(u)  # [B, 1]
    runs = g(op.not_equal(valid, relax.const(0, "int32")))
    places = relax.const(np.arange(length, dtype=np.int32))
    newest = g(op.logical_and(g(op.equal(places, t)), runs))
    history = g(op.where(newest, u, g.floats(history)))
    # H[t − s] for every s ≤ t, zeros before: rows of H behind L rows of zeros, from the back
    padded = relax.const(np.concatenate([np.zeros_like(h), h]).astype(np.float32))
    behind = g(op.subtract(g(op.add(t, relax.const(length, "int32"))), places))
    index = g(op.minimum(behind, relax.const(2 * length - 1, "int32")))
    finite = g(op.matmul(history, g(op.take(padded, index, axis=0))))
    endless = g(op.add(g(op.matmul(m, a_t)), g(op.multiply(u, b))))
    within = g(op.less(t, relax.const(length, "int32")))
    new = g(op.where(runs, g(op.where(within, finite, endless)), m))
    step = g(op.astype(runs, "int32"))
    return g(op.expand_dims(new, 1)), history, new, g(op.add(t, step))
