"""Channels-last convolutions with constant filters → kernels.

A chain starts at a ``conv2d`` (see `chain`): its elementwise tail is fused. Depthwise and finely
grouped convolutions have a kernel of their own; 3×3 filters take Winograd's form where its rule
says that it gains, in float32 alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator

from millijoule.converters.importer import tensor_type
from millijoule.converters.ops import TensorType
from millijoule.sizes import Size
from millijoule.targets.kernels.conv.depthwise import depthwise_f32, pack_depthwise, takes
from millijoule.targets.kernels.conv.direct import choose_tile, conv2d_f32, pack_filters
from millijoule.targets.kernels.conv.shape import ConvShape, conv_shape
from millijoule.targets.kernels.conv.winograd import pack_filters as pack_transformed
from millijoule.targets.kernels.conv.winograd import plan_winograd, winograd_f32
from millijoule.targets.kernels.conv.winograd.rule import choose_form
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.passes.chain import Bound, Chain, ChainLowering, find_chains
from millijoule.targets.passes.match import constant, op_name
from millijoule.targets.passes.meta import KernelMeta, call_kernel
from millijoule.targets.passes.rewrite_main import rewrite_main
from millijoule.targets.target import Isa

# Images of up to so many channels are read as they come: transposing them costs more than it saves
MOST_PLANES = 4


@dataclass(frozen=True)
class _Convolution:
    """The root of a chain."""

    x: relax.Expr
    filters: np.ndarray  # [O, I/groups, KH, KW]
    shape: ConvShape
    planar: bool  # x is [B, C, H, W]


def lower_conv(isa: Isa, layers: Mapping[str, str], *, half: bool = False) -> tvm.transform.Pass:
    """The pass over function ``main``; ``layers`` maps variable names to layer names.

    ``half``: multiply in float16 where the vector unit can; few channels, and depthwise filters,
    which wait for memory, stay in float32.
    """

    def emit(
        mutator: PyExprMutator, chain: Chain[_Convolution], ty: relax.TensorType
    ) -> relax.Expr:
        return _emit(mutator, chain, ty, isa, half)

    return rewrite_main(
        "LowerConv",
        lambda mod: ChainLowering(mod, find_chains(mod["main"], _match, layers), emit),
    )


def _match(var: relax.Var, call: relax.Expr, bound: Bound) -> _Convolution | None:
    """The convolution that `conv2d_f32` computes, if ``call`` is one."""
    if op_name(call) != "relax.nn.conv2d" or str(call.attrs.data_layout) != "NHWC":
        return None
    x, w, attrs = call.args[0], constant(call.args[1], bound.get), call.attrs
    if w is None or {str(w.dtype), str(x.ty.dtype), str(var.ty.dtype)} != {"float32"}:
        return None
    if str(attrs.kernel_layout) != "OIHW" or str(attrs.out_layout) != "NHWC":
        return None
    strides, padding, dilation = (
        [int(v) for v in values] for values in (attrs.strides, attrs.padding, attrs.dilation)
    )
    if any(isinstance(d, Size) for d in tensor_type(x).shape[1:]):
        return None  # tiles of pixels are unrolled
    shape = conv_shape(tensor_type(x).shape, w.shape, strides, padding, dilation, int(attrs.groups))
    small = shape.groups == 1 and shape.channels <= MOST_PLANES and not shape.pointwise
    planes = _planes(x, bound) if small else None
    return _Convolution(x if planes is None else planes, w, shape, planes is not None)


def _planes(x: relax.Expr, bound: Bound) -> relax.Expr | None:
    """The [B, C, H, W] that ``x`` is the transpose of, if it is one."""
    call = bound.get(x)
    if call is None or op_name(call) != "relax.permute_dims" or call.attrs.axes is None:
        return None
    return call.args[0] if [int(a) for a in call.attrs.axes] == [0, 2, 3, 1] else None


def _emit(
    mutator: PyExprMutator,
    chain: Chain[_Convolution],
    ty: relax.TensorType,
    isa: Isa,
    half: bool,
) -> relax.Expr:
    shape = chain.root.shape
    form = _form(chain.root, isa, half)
    packed = form.packed
    x = mutator.visit_expr(chain.root.x)
    operands = [mutator.visit_expr(o) for o in chain.operands]
    result = tensor_type(chain.last)
    kernel = form.kernel(
        shape,
        tensor_type(x),
        TensorType(packed.shape, str(packed.dtype)),
        [tensor_type(o) for o in operands],
        result,
        chain.steps,
        form.isa,
    )
    multiplies, adds = (n + shape.multiply_adds for n in chain.arithmetic(result))
    in_half = form.isa.product == "float16"
    meta = KernelMeta("conv2d", chain.layer, 1, multiplies=multiplies, adds=adds, half=in_half)
    return call_kernel(mutator.builder_, kernel, [x, relax.const(packed), *operands], [ty], meta)


@dataclass(frozen=True)
class _Form:
    """Which kernel computes a convolution, its weights as it takes them, and the unit it uses."""

    kernel: Callable[..., KernelForm]
    packed: np.ndarray
    isa: Isa


def _form(root: _Convolution, isa: Isa, half: bool) -> _Form:
    """Depthwise, Winograd's or direct form."""
    filters, shape, planar = root.filters, root.shape, root.planar
    if takes(shape, isa) and not planar:
        return _Form(depthwise_f32, pack_depthwise(filters), isa)
    # transformed weights rounded to halves would err several times as much as weights do
    if tile := 0 if half or planar else choose_form(shape, isa):
        plan = plan_winograd(shape, tile, isa)
        packed = pack_transformed(filters, tile, plan.width)
        return _Form(partial(winograd_f32, plan=plan), packed, isa)
    unit = isa.in_half() if half and not planar and shape.group_channels >= isa.half else isa
    packed = pack_filters(filters, shape, choose_tile(shape, unit))
    return _Form(partial(conv2d_f32, planar=planar), packed, unit)
