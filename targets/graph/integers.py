"""Dense layers of an int8 program for formats without a convolution from int8 to int32."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tvm
from tvm import relax

from millijoule.converters.importer import tensor_type
from millijoule.targets.graph.forms.expansion import constant_of

Emit = Callable[[relax.Expr], relax.Var]
op = relax.op


def taps(call: relax.Call, name: str, args: Sequence[relax.Expr], emit: Emit) -> relax.Expr | None:
    """A convolution along time of int8 by int8 as a sum of one product per tap, exact in int32.

    ``call`` of the operator ``name`` over ``args``; None if it is anything else.
    """
    if name != "relax.nn.conv1d" or str(call.ty.dtype) != "int32":
        return None
    a = call.attrs
    kernel = constant_of(args[1])
    plain = all(int(v) == 1 for v in (*a.strides, *a.dilation)) and int(a.groups) == 1
    if kernel is None or not plain or len(tensor_type(args[0]).shape) != 3:
        return None
    x = _ordered(args[0], str(a.data_layout), "NWC", emit)
    weights = kernel.transpose([str(a.kernel_layout).index(axis) for axis in "WIO"])
    left, right = (int(p) for p in (a.padding[0], a.padding[-1]))
    if left or right:
        x = emit(op.nn.pad(x, (0, 0, left, right, 0, 0), pad_value=0))
    steps = tensor_type(x).shape[1] - len(weights) + 1
    total = None
    for tap, w in enumerate(weights):
        piece = emit(op.strided_slice(x, [1], [tap], [tap + steps]))
        product = emit(op.matmul(piece, relax.const(np.ascontiguousarray(w)), out_dtype="int32"))
        total = product if total is None else emit(op.add(total, product))
    return _ordered(total, "NWC", str(a.out_layout or a.data_layout), emit)


def _ordered(x: relax.Expr, layout: str, wanted: str, emit: Emit) -> relax.Expr:
    """``x`` with its axes in another order."""
    axes = [layout.index(axis) for axis in wanted]
    return x if axes == sorted(axes) else emit(op.permute_dims(x, axes))


def integer_weights(args: Sequence[relax.Expr]) -> bool:
    """Whether one of ``args`` is an int8 constant: weights of an integer program."""
    return any(isinstance(a, tvm.ir.Constant) and str(a.ty.dtype) == "int8" for a in args)
