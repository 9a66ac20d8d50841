"""Linear layers and convolutions with constant weights → packed GEMM, elementwise tail fused.

A chain starts at a ``matmul`` or channels-last ``conv1d`` with constant weights (see `chain`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator

from millijoule.converters.importer import relax_type, tensor_type
from millijoule.converters.ops import TensorType
from millijoule.sizes import Size, divided
from millijoule.targets.kernels.gemm import GemmShape, choose_tile, gemm_f32, pack_weights
from millijoule.targets.kernels.gemm_s8 import gemm_s8, unit_of
from millijoule.targets.passes.chain import Bound, Chain, ChainLowering, find_chains
from millijoule.targets.passes.match import constant, op_name
from millijoule.targets.passes.meta import KernelMeta, call_kernel
from millijoule.targets.passes.rewrite_main import rewrite_main
from millijoule.targets.target import Isa

# dtypes of weights, input and result
_PRODUCTS = {("float32", "float32", "float32"), ("int8", "int8", "int32")}


@dataclass(frozen=True)
class _Product:
    """The root of a chain: a GEMM of ``x`` and constant weights."""

    x: relax.Expr
    weights: np.ndarray  # [K, N]
    shape: GemmShape


def lower_dense(isa: Isa, layers: Mapping[str, str], *, half: bool = False) -> tvm.transform.Pass:
    """The pass over function ``main``; ``layers`` maps variable names to layer names.

    ``half``: multiply in float16 where the vector unit can.
    """
    unit = isa.in_half() if half else isa

    def emit(mutator: PyExprMutator, chain: Chain[_Product], ty: relax.TensorType) -> relax.Expr:
        return _emit(mutator, chain, ty, unit)

    return rewrite_main(
        "LowerDense",
        lambda mod: ChainLowering(mod, find_chains(mod["main"], _match, layers), emit),
    )


def _match(var: relax.Var, call: relax.Expr, bound: Bound) -> _Product | None:
    """The product that `gemm_f32` or `gemm_s8` computes, if ``call`` is one."""
    name = op_name(call)
    if name not in ("relax.matmul", "relax.nn.conv1d"):
        return None
    w = constant(call.args[1], bound.get)
    x = call.args[0]
    if w is None or (str(w.dtype), str(x.ty.dtype), str(var.ty.dtype)) not in _PRODUCTS:
        return None
    dims = tensor_type(x).shape
    if name == "relax.matmul":
        if w.ndim != 2 or len(dims) < 2:
            return None
        rows = math.prod(dims[:-1])
        return _Product(x, w, GemmShape(1, rows, dims[-1], w.shape[1]))
    attrs = call.attrs
    plain = all(int(v) == 1 for v in [*attrs.strides, *attrs.dilation, attrs.groups])
    padding = [int(p) for p in attrs.padding]
    if str(attrs.data_layout) != "NWC" or not plain or padding[0] != padding[-1]:
        return None
    outputs, channels, taps = w.shape  # OIW
    batch, steps, _ = dims
    if isinstance(steps, Size):
        return None
    shape = GemmShape(batch, steps, channels, outputs, taps, padding[0])
    flat = np.ascontiguousarray(w.transpose(2, 1, 0)).reshape(taps * channels, outputs)
    return _Product(x, flat, shape)


def _emit(
    mutator: PyExprMutator, chain: Chain[_Product], ty: relax.TensorType, isa: Isa
) -> relax.Expr:
    weights, shape = chain.root.weights, chain.root.shape
    integer = weights.dtype == np.int8
    bytes_alone = integer and not isa.gpu
    packed = (
        unit_of(isa).pack(weights)
        if bytes_alone
        else pack_weights(weights, choose_tile(shape, isa))
    )
    x = mutator.visit_expr(chain.root.x)
    operands = [mutator.visit_expr(o) for o in chain.operands]
    result = tensor_type(chain.last)
    if isinstance(shape.steps, Size) and result.shape not in _plain_shapes(shape):
        x, *operands = (_as_rows(mutator, e, shape) for e in (x, *operands))
        result = TensorType((shape.steps, shape.outputs), result.dtype)
    form = (gemm_s8 if integer else gemm_f32)(
        shape,
        tensor_type(x),
        TensorType(packed.shape, str(packed.dtype)),
        [tensor_type(o) for o in operands],
        result,
        chain.steps,
        isa,
    )
    args: Sequence[relax.Expr] = [x, relax.const(packed), *operands]
    multiplies, adds = (n + shape.multiply_adds for n in chain.arithmetic(result))
    op = "conv1d" if shape.taps > 1 else "linear"
    half = isa.product == "float16" and not integer
    meta = KernelMeta(op, chain.layer, 1, multiplies=multiplies, adds=adds, half=half)
    made = call_kernel(mutator.builder_, form, args, [relax_type(result)], meta)
    if result == tensor_type(chain.last):
        return made
    return relax.op.reshape(mutator.builder_.emit(made), ty.shape)


def _plain_shapes(shape: GemmShape) -> tuple[tuple[int, ...], ...]:
    """Shapes of a result whose rows are one axis."""
    return (shape.steps, shape.outputs), (1, shape.steps, shape.outputs)


def _as_rows(mutator: PyExprMutator, expr: relax.Expr, shape: GemmShape) -> relax.Expr:
    """``expr`` as a matrix if it has all rows, so that kernels need not find their axes."""
    t = tensor_type(expr)
    rows = divided(t.size, t.shape[-1]) if t.shape else None
    if rows != shape.steps or len(t.shape) == 2:
        return expr
    return mutator.builder_.emit(relax.op.reshape(expr, (shape.steps, t.shape[-1])))
