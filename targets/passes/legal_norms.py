"""Group and instance norm as two sums over a group: the mean, then the squares of what is left.

TVM's own form takes both sums at once and subtracts the mean's square from the mean of squares.
That loses digits where the mean is large, and is a reduction of pairs that no schedule covers.
"""

from __future__ import annotations

from typing import Any

import tvm.topi as topi
from tvm import relax, te, tirx


def group_norm(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr | None:
    """``relax.nn.group_norm``; None for a form that is left to TVM."""
    return _lower(builder, call, int(call.attrs.num_groups))


def instance_norm(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr | None:
    """``relax.nn.instance_norm``: every channel is a group; None for a form left to TVM."""
    channels = call.args[0].ty.shape[int(call.attrs.channel_axis)]
    return _lower(builder, call, int(channels))


def _lower(builder: relax.BlockBuilder, call: relax.Call, groups: int) -> relax.Expr | None:
    data, attrs = call.args[0], call.attrs
    rank = len(data.ty.shape)
    channel = int(attrs.channel_axis) % rank
    within = {int(a) % rank for a in attrs.axes} - {channel}
    if int(data.ty.shape[0]) == 1:  # instance norm as torch takes it apart: one batch of channels
        within -= {0}
    if channel == 0 or within != set(range(1, rank)) - {channel}:
        return None
    if str(data.ty.dtype) != "float32":
        return None

    def compute(x: te.Tensor, gamma: te.Tensor, beta: te.Tensor) -> te.Tensor:
        affine = (gamma if attrs.scale else None, beta if attrs.center else None)
        return normalised(x, *affine, groups, channel, float(attrs.epsilon))

    name = str(call.op.name).rsplit(".", 1)[1]
    return builder.call_te(compute, *call.args, primfunc_name_hint=name)


def normalised(
    x: te.Tensor, gamma: Any, beta: Any, groups: int, channel: int, epsilon: float
) -> te.Tensor:
    """(x − mean)/√(variance + ε)·γ + β over all axes and the groups of axis ``channel``."""
    shape = [int(d) for d in x.shape]
    inside = shape[channel] // groups
    split = [*shape[:channel], groups, inside, *shape[channel + 1 :]]
    apart = topi.reshape(x, split)
    axes = [a for a in range(1, len(split)) if a != channel]
    count = tirx.const(float(_product([split[a] for a in axes])), "float32")
    mean = topi.sum(apart, axes, keepdims=True) / count
    rest = topi.subtract(apart, mean)
    variance = topi.sum(topi.multiply(rest, rest), axes, keepdims=True) / count
    scale = topi.rsqrt(topi.add(variance, tirx.const(epsilon, "float32")))
    y = topi.multiply(rest, scale)
    channels = [1] * len(split)
    channels[channel : channel + 2] = groups, inside
    if gamma is not None:
        y = topi.multiply(y, topi.reshape(gamma, channels))
    if beta is not None:
        y = topi.add(y, topi.reshape(beta, channels))
    return topi.reshape(y, shape)


def _product(extents: list[int]) -> int:
    total = 1
    for extent in extents:
        total *= extent
    return total
