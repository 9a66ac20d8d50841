"""Pooling and sampling of images ``[B, C, H, W]``."""

from __future__ import annotations

from typing import Any

from torch import fx
from tvm import relax

from millijoule.converters.torch_ops.context import Context, Convert, argument, shape_of
from millijoule.errors import UnsupportedError

_op = relax.op
_METHODS, _PADDINGS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")


def _adaptive_max_pool2d(node: fx.Node, context: Context) -> Any:
    """Max pooling to a given size, where the windows are equal; indices are not given."""
    size = shape_of(node.args[0])[-2:]
    wanted = [int(d) for d in node.args[1]]
    if any(s % w for s, w in zip(size, wanted, strict=True)):
        raise UnsupportedError(
            f"adaptive_max_pool2d from {list(size)} to {wanted} has windows of several sizes; "
            "use sizes that divide the image's"
        )
    window = [s // w for s, w in zip(size, wanted, strict=True)]
    pooled = _op.nn.max_pool2d(context.value(node.args[0]), window, window)
    return [context.emit(pooled), None]


def _grid_sample(node: fx.Node, context: Context) -> relax.Var:
    """Sampling at points ``[B, H, W, 2]`` from −1 to 1; Relax wants them as ``[B, 2, H, W]``."""
    grid = context.emit(_op.permute_dims(context.value(node.args[1]), [0, 3, 1, 2]))
    return context.emit(
        _op.image.grid_sample(
            context.value(node.args[0]),
            grid,
            method=_METHODS[int(argument(node, 2, "interpolation_mode", 0))],
            padding_mode=_PADDINGS[int(argument(node, 3, "padding_mode", 0))],
            align_corners=bool(argument(node, 4, "align_corners", False)),
        )
    )


CONVERTERS: dict[str, Convert] = {
    "adaptive_max_pool2d.default": _adaptive_max_pool2d,
    "grid_sampler_2d.default": _grid_sample,
}
