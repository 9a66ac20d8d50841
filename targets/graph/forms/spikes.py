"""``spike_linear`` and ``spike_conv`` as a product and a convolution of 0/1 numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import relax

from millijoule.targets.graph.forms.expansion import Expansion


def spike_linear(
    g: Expansion, attrs: dict[str, Any], operands: Sequence[relax.Expr]
) -> tuple[relax.Expr, ...]:
    """s [B, N, K] · w [K, O] + bias [O]."""
    s, w, bias = operands
    return (g(relax.op.add(g(relax.op.matmul(g.floats(s), w)), bias)),)


def spike_conv(
    g: Expansion, attrs: dict[str, Any], operands: Sequence[relax.Expr]
) -> tuple[relax.Expr, ...]:
    """A convolution along time, channels in front as most formats want it."""
    s, w = operands
    x = g(relax.op.permute_dims(g.floats(s), [0, 2, 1]))
    kernel = g(relax.op.permute_dims(w, [2, 1, 0]))  # [K, C, O] → OIW
    y = g(relax.op.nn.conv1d(x, kernel, padding=attrs["padding"]))
    return (g(relax.op.permute_dims(y, [0, 2, 1])),)
