"""Relax form of ``binary_attention``: result types, naive TIR and operation counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.converters.ops.binary_attention.rule import RULES, int_threshold
from millijoule.converters.ops.vocabulary import Attrs, OpCounts, TensorType, VocabularyOp, register

__all__ = ["BINARY_ATTENTION", "RULES", "int_threshold", "is_masked"]


def is_masked(attrs: Attrs, operands: Sequence[TensorType]) -> bool:
    """Whether the last operand is a mask."""
    return len(operands) == (6 if attrs["rule"] == "softmax" else 4)


def _results(attrs: Attrs, operands: Sequence[TensorType]) -> tuple[TensorType, ...]:
    batch, steps, _ = operands[0].shape
    return operands[0], TensorType((batch, attrs["heads"], steps, steps), "uint8")


def _naive(attrs: Attrs, operands: Sequence[TensorType]) -> Any:
    """One row of the map at a time: its scores, what they decide, its context."""
    batch, steps, width = operands[0].shape
    heads = attrs["heads"]
    d = width // heads
    with tir.kernel("binary_attention", operands, _results(attrs, operands)) as kernel:
        q, k, v = kernel.buffers[:3]
        context, a = kernel.buffers[-2:]
        low, scales = kernel.buffers[3:5] if attrs["rule"] == "softmax" else (None, None)
        mask = kernel.buffers[-3] if is_masked(attrs, operands) else None
        s, total = tir.scratch([steps], "int32"), tir.scratch([1], "int32")
        decide = _RULES[attrs["rule"]](steps, d)
        with T.serial(0, batch) as b, T.serial(0, heads) as h, T.serial(0, steps) as i:
            with T.serial(0, steps) as j:
                tir.store(s, [j], T.int32(0))
                with T.serial(0, d) as c:
                    term = tir.sign(q[b, i, h * d + c]) * tir.sign(k[b, j, h * d + c])
                    tir.store(s, [j], s[j] + term)
            decide(s, low, scales, mask, a, (b, h, i))
            with T.serial(0, d) as c:
                tir.store(total, [0], T.int32(0))
                with T.serial(0, steps) as j:
                    term = T.cast(a[b, h, i, j], "int32") * tir.sign(v[b, j, h * d + c])
                    tir.store(total, [0], total[0] + term)
                y = T.cast(total[0], "float32")
                y = y if scales is None else y * (scales[1] * scales[2])
                tir.store(context, [b, i, h * d + c], y)
            if low is not None:
                _add_value_estimates(context, low, scales, a, (b, h, i), steps, d)
    return kernel.func


Decide = Callable[..., None]


def _bool_rule(steps: int, d: int) -> Decide:
    def decide(s: Any, low: Any, scales: Any, mask: Any, a: Any, at: tuple[Any, ...]) -> None:
        with T.serial(0, steps) as j:
            score = T.cast(s[j], "float32") / T.float32(math.sqrt(d))
            score = score if mask is None else score + mask[at[0], j]
            tir.store(a, [*at, j], T.cast(score > T.float32(0), "uint8"))

    return decide


def _threshold_rule(steps: int, d: int) -> Decide:
    largest = tir.scratch([1], "int32")

    def decide(s: Any, low: Any, scales: Any, mask: Any, a: Any, at: tuple[Any, ...]) -> None:
        tir.store(largest, [0], s[0])
        with T.serial(0, steps) as j:
            tir.store(largest, [0], T.max(largest[0], s[j]))
        with T.serial(0, steps) as j:
            near = largest[0] - s[j] <= int_threshold(d)
            tir.store(a, [*at, j], T.cast(near, "uint8"))

    return decide


def _softmax_rule(steps: int, d: int) -> Decide:
    p, largest, total = (tir.scratch([n], "float32") for n in (steps, 1, 1))

    def decide(s: Any, low: Any, scales: Any, mask: Any, a: Any, at: tuple[Any, ...]) -> None:
        b, _, i = at
        q_m, q_p = low[b, i, 0], low[b, i, 1]
        tir.store(largest, [0], T.float32(-3.4e38))
        with T.serial(0, steps) as j:
            k_m, k_p = low[b, j, 2], low[b, j, 3]
            rank_one = q_m * k_p + q_p * k_m + q_p * k_p
            score = scales[0] * T.cast(s[j], "float32") + rank_one
            score = score / T.float32(math.sqrt(d))
            tir.store(p, [j], score if mask is None else score + mask[b, j])
            tir.store(largest, [0], T.max(largest[0], p[j]))
        tir.store(total, [0], T.float32(0))
        with T.serial(0, steps) as j:
            tir.store(p, [j], T.exp(p[j] - largest[0]))
            tir.store(total, [0], total[0] + p[j])
        with T.serial(0, steps) as j:
            above = p[j] / total[0] / scales[1] > T.float32(0.5)
            tir.store(a, [*at, j], T.cast(above, "uint8"))

    return decide


_RULES: dict[str, Callable[[int, int], Decide]] = {
    "bool": _bool_rule,
    "threshold": _threshold_rule,
    "softmax": _softmax_rule,
}


def _add_value_estimates(
    context: Any, low: Any, scales: Any, a: Any, at: tuple[Any, ...], steps: int, d: int
) -> None:
    """Add α_attn · Σ_j A_ij v_p,j to every dimension of a head."""
    b, h, i = at
    estimate = tir.scratch([1], "float32")
    tir.store(estimate, [0], T.float32(0))
    with T.serial(0, steps) as j:
        term = T.cast(a[b, h, i, j], "float32") * low[b, j, 4]
        tir.store(estimate, [0], estimate[0] + term)
    with T.serial(0, d) as c:
        y = context[b, i, h * d + c]
        tir.store(context, [b, i, h * d + c], y + scales[1] * estimate[0])


def _counts(attrs: Attrs, operands: Sequence[TensorType]) -> OpCounts:
    """Two one-bit matrix products; what the softmax rule computes in floating point besides."""
    batch, steps, width = operands[0].shape
    scores = batch * attrs["heads"] * steps * steps
    binary = 2 * batch * steps * steps * width
    if attrs["rule"] != "softmax":
        masked = int(is_masked(attrs, operands))
        return OpCounts(adds=scores * masked, binary_ops=binary)
    # per score: α_qk·s, three products, 1/√d, P, and five sums; per context: one product and sum
    contexts = batch * steps * width
    return OpCounts(multiplies=6 * scores + contexts, adds=6 * scores + contexts, binary_ops=binary)


def _map_tap(attrs: Attrs) -> str | None:
    return "map" if attrs["maps"] else None


BINARY_ATTENTION = register(
    VocabularyOp(
        "binary_attention",
        ("rule", "heads", "maps"),
        _results,
        _naive,
        _counts,
        second_tap=_map_tap,
    )
)
