"""Binary layers and attention as products of numbers that are −1, 0 or +1, exact in float32.

Weights stay int8 constants behind an ``astype``, so that each format stores them as narrow as it
can; sums of signs are integers below 2²⁴, which float32 holds exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax

from millijoule.converters.importer import tensor_type
from millijoule.converters.ops.binary_attention import int_threshold
from millijoule.converters.ops.binary_attention.op import is_masked
from millijoule.targets.graph.forms.expansion import Expansion

op = relax.op


def binary_linear(
    g: Expansion, attrs: dict[str, Any], operands: Sequence[relax.Expr]
) -> tuple[relax.Expr, ...]:
    """scale · (a · wᵀ) + bias with a = sign(x), or x itself."""
    x, w, scale, bias = operands
    if attrs["activations"] == "sign":
        x = g(op.sign(x))
    columns = g(op.astype(g(op.permute_dims(w)), "float32"))
    y = g(op.multiply(g(op.matmul(x, columns)), scale))
    return (g(op.add(y, bias)),)


def binary_embedding(
    g: Expansion, attrs: dict[str, Any], operands: Sequence[relax.Expr]
) -> tuple[relax.Expr, ...]:
    """Rows of the table times their scales; ids outside the table take its first or last row."""
    ids, w, scale = operands
    rows, dtype = tensor_type(w).shape[0], str(ids.ty.dtype)
    low, high = (relax.const(value, dtype) for value in (0, rows - 1))
    ids = g(op.maximum(g(op.minimum(ids, high)), low))
    table = g(op.astype(w, "float32"))
    scales = g(op.expand_dims(g(op.take(scale, ids, axis=0)), -1))
    return (g(op.multiply(g(op.take(table, ids, axis=0)), scales)),)


def binary_attention(
    g: Expansion, attrs: dict[str, Any], operands: Sequence[relax.Expr]
) -> tuple[relax.Expr, ...]:
    """Context [B, N, D] and map [B, heads, N, N] (float32 here) by the op's rule."""
    heads = attrs["heads"]
    batch, steps, width = tensor_type(operands[0]).shape
    size = width // heads

    def split(x: relax.Expr, axes: list[int]) -> relax.Expr:
        signs = g(op.reshape(g(op.sign(x)), (batch, steps, heads, size)))
        return g(op.permute_dims(signs, axes))

    q, v = (split(x, [0, 2, 1, 3]) for x in (operands[0], operands[2]))
    s = g(op.matmul(q, split(operands[1], [0, 2, 3, 1])))
    mask = None
    if is_masked(attrs, [tensor_type(o) for o in operands]):
        mask = g(op.reshape(operands[-1], (batch, 1, 1, steps)))
    low = scales = None
    if attrs["rule"] == "softmax":
        low, scales = operands[3:5]
    a = g(op.astype(_RULES[attrs["rule"]](g, s, size, mask, low, scales), "float32"))
    context = g(op.matmul(a, v))
    if low is not None:
        alpha, both = (
            _scale(g, scales, 1),
            g(op.multiply(_scale(g, scales, 1), _scale(g, scales, 2))),
        )
        estimate = g(op.matmul(a, _column(g, low, 4, [0, 2, 1, 3])))  # [B, heads, N, 1]
        context = g(op.add(g(op.multiply(context, both)), g(op.multiply(estimate, alpha))))
    merged = g(op.reshape(g(op.permute_dims(context, [0, 2, 1, 3])), (batch, steps, width)))
    return merged, a


def _bool(g: Expansion, s: relax.Expr, size: int, mask: Any, low: Any, scales: Any) -> relax.Expr:
    """s/√d + mask > 0."""
    score = g(op.divide(s, _number(math.sqrt(size))))
    score = score if mask is None else g(op.add(score, mask))
    return g(op.greater(score, _number(0)))


def _threshold(
    g: Expansion, s: relax.Expr, size: int, mask: Any, low: Any, scales: Any
) -> relax.Expr:
    """max s − s ≤ ⌊ln 4·√d⌋."""
    gap = g(op.subtract(g(op.max(s, -1, keepdims=True)), s))
    return g(op.less_equal(gap, _number(int_threshold(size))))


def _softmax(
    g: Expansion, s: relax.Expr, size: int, mask: Any, low: relax.Expr, scales: relax.Expr
) -> relax.Expr:
    """softmax((α·s + L)/√d + mask)/α_attn > ½ with L of the low-rank estimates."""
    rows, columns = [0, 2, 1, 3], [0, 2, 3, 1]
    q_m, q_p = (_column(g, low, i, rows) for i in (0, 1))
    k_m, k_p = (_column(g, low, i, columns) for i in (2, 3))
    products = [g(op.matmul(a, b)) for a, b in ((q_m, k_p), (q_p, k_m), (q_p, k_p))]
    rank_one = g(op.add(g(op.add(products[0], products[1])), products[2]))
    score = g(op.add(g(op.multiply(s, _scale(g, scales, 0))), rank_one))
    score = g(op.divide(score, _number(math.sqrt(size))))
    score = score if mask is None else g(op.add(score, mask))
    share = g(op.divide(g(op.nn.softmax(score, -1)), _scale(g, scales, 1)))
    return g(op.greater(share, _number(0.5)))


_RULES = {"bool": _bool, "threshold": _threshold, "softmax": _softmax}


def _number(value: float) -> relax.Expr:
    return relax.const(np.float32(value))


def _scale(g: Expansion, scales: relax.Expr, index: int) -> relax.Expr:
    """One of the scales [3], as [1]."""
    return g(op.strided_slice(scales, [0], [index], [index + 1]))


def _column(g: Expansion, low: relax.Expr, index: int, axes: list[int]) -> relax.Expr:
    """Estimate ``index`` of every token [B, N, 5] as [B, 1, N, 1], or transposed."""
    piece = g(op.strided_slice(low, [2], [index], [index + 1]))
    return g(op.permute_dims(g(op.expand_dims(piece, 2)), axes))
