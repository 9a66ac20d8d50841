"""Sorting along an axis by counting, for each element, how many stand before it.

Stable, without scratch memory or branches on data, NaN behind everything else as in torch. n²
comparisons of n elements: right for class scores and candidate lists (1000 elements take about a
millisecond), wrong for large arrays.

Floor: n² comparisons. On a GPU every element has a thread, which counts.
"""

from __future__ import annotations

from typing import Any

import tvm.script.ir_builder.tirx as T
from tvm import tirx

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.kernels.scan import around
from millijoule.targets.kernels.threads import Registers, each_element


def sort(
    operand: TensorType,
    axis: int,
    keep: int,
    descending: bool,
    values: bool,
    indices: str,
    *,
    gpu: bool = False,
) -> KernelForm:
    """The first ``keep`` elements in order along ``axis``.

    Results: the values if ``values``, then their indices in dtype ``indices`` unless that is "".
    """
    outer, count, inner = around(operand.shape, axis)
    kept = (outer, keep, inner)
    results = [TensorType(kept, operand.dtype)] * values
    results += [TensorType(kept, indices)] * bool(indices)
    with tir.kernel("sort", [TensorType((outer, count, inner), operand.dtype)], results) as k:
        x, *sorted_ = k.buffers

        def element(o: Any, c: Any, i: Any, rank: Any) -> None:
            rank[0] = T.int32(0)
            with T.serial(0, count) as other:
                first = _before(x[o, other, i], x[o, c, i], other, c, descending)
                rank[0] = rank[0] + T.cast(first, "int32")
            with T.If(rank[0] < keep), T.Then():
                place = (o, rank[0], i)
                if values:
                    tir.store(sorted_[0], place, x[o, c, i])
                if indices:
                    tir.store(sorted_[-1], place, T.cast(c, indices))

        if gpu:
            each_element(
                (outer, count, inner),
                lambda at: element(at[0], at[1], at[2], Registers(1, "int32")),
            )
        else:
            rank = Registers(1, "int32", scope="global")
            with T.serial(0, outer) as o, T.serial(0, inner) as i, T.serial(0, count) as c:
                element(o, c, i, rank)
    return KernelForm(k.func)


def _before(a: Any, b: Any, i: Any, j: Any, descending: bool) -> Any:
    """Whether element ``a`` at ``i`` comes before ``b`` at ``j``; equal ones keep their order.

    NaN is larger than anything. Comparisons are never negated: TVM's simplifier turns ``not a < b``
    into ``b <= a`` and ``a != a`` into false, which NaN makes wrong.
    """
    first = a > b if descending else a < b
    same = a == b
    if str(a.ty.dtype).startswith("float"):
        large, small = (a, b) if descending else (b, a)
        first = tirx.any(first, tirx.all(tirx.isnan(large), tirx.Not(tirx.isnan(small))))
        same = tirx.any(same, tirx.all(tirx.isnan(a), tirx.isnan(b)))
    return tirx.any(first, tirx.all(same, i < j))
