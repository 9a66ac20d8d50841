"""Channels-last pooling, and means over whole images → kernels."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from millijoule.converters.importer import tensor_type
from millijoule.converters.ops import TensorType
from millijoule.sizes import Size
from millijoule.targets.kernels.conv.pooling import Pooling, pool_f32
from millijoule.targets.kernels.conv.shape import Axis, ConvShape
from millijoule.targets.passes.match import op_name
from millijoule.targets.passes.meta import KernelMeta, call_kernel
from millijoule.targets.passes.rewrite_main import rewrite_main
from millijoule.targets.target import Isa

# A window is code of its own for every column
MOST_COLUMNS = 64
_POOLS = {"relax.nn.max_pool2d": "max", "relax.nn.avg_pool2d": "mean"}


def lower_pool(isa: Isa) -> tvm.transform.Pass:
    """The pass over function ``main``: largest values and means under windows."""
    return rewrite_main("LowerPool", lambda mod: _Pools(mod, isa))


@mutator
class _Pools(PyExprMutator):
    def __init__(self, mod: tvm.IRModule, isa: Isa) -> None:
        super().__init__(mod)
        self._isa = isa

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        if op_name(call) not in (*_POOLS, "relax.mean"):
            return call
        x, result = tensor_type(call.args[0]), tensor_type(call)
        pooling = _of_image(x, call.attrs) if op_name(call) == "relax.mean" else _windowed(call)
        if pooling is None or x.dtype != "float32":
            return call
        taps = pooling.shape.rows.taps * pooling.shape.columns.taps
        meta = KernelMeta(
            op=f"{pooling.op}_pool2d",
            layer="",
            results=1,
            multiplies=result.size * (pooling.op == "mean"),
            adds=result.size * taps * (pooling.op == "mean"),
        )
        form = pool_f32(pooling, x, result, self._isa)
        return call_kernel(self.builder_, form, [call.args[0]], [call.ty], meta)


def _of_image(x: TensorType, attrs: Any) -> Pooling | None:
    """The mean over rows and columns of [B, H, W, C] as one window, if ``attrs`` ask for that."""
    axes = [] if attrs.axis is None else sorted(int(a) % len(x.shape) for a in attrs.axis)
    if len(x.shape) != 4 or axes != [1, 2] or any(isinstance(d, Size) for d in x.shape[1:3]):
        return None
    if x.shape[2] > MOST_COLUMNS:
        return None
    batch, height, width, channels = x.shape
    window = Axis(height, height), Axis(width, width)
    return Pooling(ConvShape(batch, *window, channels, channels, channels), "mean")


def _windowed(call: relax.Call) -> Pooling | None:
    """The pooling of a call; a window of ceil mode reaches beyond the padding."""
    attrs = call.attrs
    if str(attrs.layout) != "NHWC" or str(attrs.out_layout) != "NHWC":
        return None
    if any(isinstance(d, Size) for d in tensor_type(call.args[0]).shape[1:]):
        return None
    op, x, result = _POOLS[op_name(call)], tensor_type(call.args[0]), tensor_type(call)
    strides, padding, dilation, taps = (
        [int(v) for v in values]
        for values in (attrs.strides, attrs.padding, attrs.dilation, attrs.pool_size)
    )
    axes = []
    for a in (0, 1):
        reach = dilation[a] * (taps[a] - 1) + 1
        end = (result.shape[1 + a] - 1) * strides[a] + reach
        after = max(0, end - x.shape[1 + a] - padding[a])
        axes.append(Axis(x.shape[1 + a], taps[a], strides[a], dilation[a], padding[a], after))
    channels = x.shape[3]
    shape = ConvShape(x.shape[0], axes[0], axes[1], channels, channels, channels)
    return Pooling(shape, op, bool(attrs.count_include_pad), (padding[2], padding[3]))
