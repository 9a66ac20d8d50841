"""Sorts, scans and scatters for GPUs: the same bits as NumPy, in the order of the operands."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fixtures.gpu import Call, check
from fixtures.kernels import types_of
from fixtures.operands import normal
from millijoule.converters.ops import TensorType
from millijoule.targets.kernels.scan import scan
from millijoule.targets.kernels.scatter import scatter_elements, scatter_nd
from millijoule.targets.kernels.sort import sort


def test_orders(tmp_path: Path) -> None:
    x = np.round(normal((2, 37, 3)) * 2)  # equal values among them
    (x_type,) = types_of([x])
    order = np.argsort(-x, axis=1, kind="stable")[:, :5]
    values = np.take_along_axis(x, order, 1)
    form = sort(x_type, 1, 5, True, True, "int32", gpu=True)
    calls = {"topk": Call(form, [x], [values, order.astype(np.int32)])}
    wide = TensorType(x.shape, "float32")
    calls["scan"] = Call(scan(x_type, wide, 1, False, gpu=True), [x], [x.cumsum(1)])
    check(tmp_path, calls)


def test_scatters(tmp_path: Path) -> None:
    data, rows = normal((9, 70)), np.array([[3], [-1], [3], [9]], np.int64)
    updates = np.round(normal((4, 70), 5) * 8)
    last = data.copy()
    for (row,), update in zip(rows[:3], updates, strict=False):
        last[row] = update  # the third is the last in its place; row 9 is none
    form = scatter_nd(*types_of([data, rows, updates]), "update", gpu=True)
    calls = {"nd": Call(form, [data, rows, updates], [last])}
    places = np.random.default_rng(0).integers(0, 9, (5, 70))
    total, added = np.round(data), np.round(normal((5, 70), 7) * 8)
    data = total.copy()
    np.add.at(total, (places, np.arange(70)), added)
    form = scatter_elements(*types_of([data, places, added]), 0, "add", gpu=True)
    calls["elements"] = Call(form, [data, places, added], [total])
    check(tmp_path, calls)
