"""Group norm, with or without weight and bias."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx
from tvm import relax

from millijoule.converters.torch_ops.context import Context, Convert, argument


def _normed(
    node: fx.Node, context: Context, weight: Any, bias: Any, groups: int, epsilon: float
) -> relax.Expr:
    """Relax wants weight and bias: ones and zeros stand for those that are not there."""
    x = context.value(node.args[0])
    rank, channels, dtype = len(x.ty.shape), int(x.ty.shape[1]), str(x.ty.dtype)
    gamma, beta = (
        relax.const(np.full(channels, missing, dtype)) if given is None else context.value(given)
        for given, missing in ((weight, 1), (bias, 0))
    )
    return context.emit(
        relax.op.nn.group_norm(
            x,
            gamma,
            beta,
            num_groups=groups,
            channel_axis=1,
            axes=list(range(2, rank)),
            epsilon=epsilon,
        )
    )


def _group_norm(node: fx.Node, context: Context) -> relax.Expr:
    """group_norm(x, groups, weight, bias, eps)."""
    weight, bias = argument(node, 2, "weight"), argument(node, 3, "bias")
    epsilon = float(argument(node, 4, "eps", 1e-5))
    return _normed(node, context, weight, bias, int(argument(node, 1, "num_groups")), epsilon)


def _native_group_norm(node: fx.Node, context: Context) -> Any:
    """native_group_norm(x, weight, bias, N, C, HxW, groups, eps); no statistics."""
    _, weight, bias, _, _, _, groups, epsilon = node.args
    return [_normed(node, context, weight, bias, int(groups), float(epsilon)), None, None]


CONVERTERS: dict[str, Convert] = {
    "group_norm.default": _group_norm,
    "native_group_norm.default": _native_group_norm,
}
