"""``scaled_dot_product_attention`` as the products and the softmax that it means.

    softmax(q·kᵀ·scale + mask)·v

TVM's own conversion takes four dimensions only, no boolean mask and no scale. Targets find this
chain again, in programs that spell it out as well, and compute it in one kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import fx
from tvm import relax

from millijoule.converters.torch_ops.context import Context, Convert, argument, shape_of
from millijoule.errors import UnsupportedError
from millijoule.sizes import Size

_op = relax.op


def _attention(node: fx.Node, context: Context) -> relax.Var:
    if argument(node, 4, "dropout_p", 0.0):
        raise UnsupportedError("attention must have no dropout, but has; use eval mode")
    emit, (query, key, value) = context.emit, (context.value(a) for a in node.args[:3])
    dtype, width = str(query.ty.dtype), shape_of(node.args[0])[-1]
    if node.kwargs.get("enable_gqa", False):
        heads = shape_of(node.args[0])[-3]
        key, value = (_repeated(context, t, heads) for t in (key, value))
    rank, given = len(query.ty.shape), node.kwargs.get("scale")
    scale = 1 / math.sqrt(width) if given is None else float(given)
    turned = emit(_op.permute_dims(key, [*range(rank - 2), rank - 1, rank - 2]))
    scores = emit(_op.multiply(emit(_op.matmul(query, turned)), relax.const(scale, dtype)))
    mask = argument(node, 3, "attn_mask")
    if mask is not None:
        scores = emit(_op.add(scores, _bias(context, context.value(mask), dtype)))
    if argument(node, 5, "is_causal", False):
        later = (shape_of(node.args[0])[-2], shape_of(node.args[1])[-2])
        scores = emit(_op.add(scores, _later(context, later, dtype)))
    return emit(_op.matmul(emit(_op.nn.softmax(scores, axis=-1)), value))


def _later(context: Context, shape: Sequence[Any], dtype: str) -> relax.Expr:
    """[queries, keys]: −∞ for keys behind the query."""
    if not any(isinstance(size, Size) for size in shape):
        return relax.const(np.triu(np.full(tuple(shape), -np.inf, dtype), 1))
    emit = context.emit
    ends = [s.__tvm_ffi_object__() if isinstance(s, Size) else int(s) for s in shape]
    queries, keys = (emit(_op.arange(0, end, 1, "int64")) for end in ends)
    return _bias(context, emit(_op.less_equal(keys, emit(_op.expand_dims(queries, 1)))), dtype)


def _bias(context: Context, mask: relax.Expr, dtype: str) -> relax.Expr:
    """What a mask adds to the scores: False is −∞."""
    if str(mask.ty.dtype) != "bool":
        return mask
    zero, never = (relax.const(v, dtype) for v in (0.0, -np.inf))
    return context.emit(_op.where(mask, zero, never))


def _repeated(context: Context, tensor: relax.Expr, heads: int) -> relax.Expr:
    """Keys or values [batch…, head, row, column] with one head for each of the query's."""
    shape = tensor.ty.shape
    times = heads // int(shape[-3])
    return tensor if times == 1 else context.emit(_op.repeat(tensor, times, len(shape) - 3))


CONVERTERS: dict[str, Convert] = {"scaled_dot_product_attention.default": _attention}
