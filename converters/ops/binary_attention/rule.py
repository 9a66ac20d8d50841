"""What the rules of ``binary_attention`` share: their names, operands and integer threshold."""

from __future__ import annotations

import math

RULES = ("bool", "threshold", "softmax")
# columns of the operand ``low`` of the softmax rule
LOW_RANK = ("q_m", "q_p", "k_m", "k_p", "v_p")


def int_threshold(head_size: int) -> int:
    """⌊ln 4 · √d⌋: how far an integer score may be below its row's maximum."""
    return math.floor(math.log(4) * math.sqrt(head_size))


def check_rule(rule: str, *, masked: bool, low: bool) -> None:
    """ValueError for an unknown rule, or operands that it does not take or misses."""
    if rule not in RULES:
        raise ValueError(f"rule must be one of {RULES}, but is {rule!r}")
    if rule == "threshold" and masked:
        raise ValueError("rule 'threshold' takes no mask")
    if (rule == "softmax") != low:
        raise ValueError("low and scales belong to rule 'softmax', which needs both")
