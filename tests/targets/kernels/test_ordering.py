"""Scans, sorts and scatters against NumPy: sizes around vectors, ties, NaN, and bad indices."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.kernels import call
from millijoule.converters.ops import TensorType
from millijoule.targets.kernels.scan import scan
from millijoule.targets.kernels.scatter import scatter_elements, scatter_nd
from millijoule.targets.kernels.sort import sort

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("count", [1, 15, 17, 64])
@pytest.mark.parametrize("product", [False, True])
def test_scan(count: int, product: bool) -> None:
    x = RNG.standard_normal((2, count, 3)).astype(np.float32)
    want = np.cumprod(x, 1) if product else np.cumsum(x, 1)
    t = TensorType(x.shape, "float32")
    (got,) = call(scan(t, t, 1, product), [x], [t])
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("count", [1, 16, 65])
@pytest.mark.parametrize("descending", [False, True])
def test_sort_is_stable(count: int, descending: bool) -> None:
    x = RNG.integers(0, 5, (2, count, 3)).astype(np.float32)
    keep = (count + 1) // 2
    order = np.argsort(-x if descending else x, axis=1, kind="stable")[:, :keep]
    results = [TensorType(order.shape, "float32"), TensorType(order.shape, "int64")]
    form = sort(TensorType(x.shape, "float32"), 1, keep, descending, True, "int64")
    values, indices = call(form, [x], results)
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_array_equal(values, np.take_along_axis(x, order, 1))


def test_nan_is_the_largest() -> None:
    x = np.array([[[2.0], [np.nan], [1.0], [np.nan], [3.0]]], np.float32)
    form = sort(TensorType(x.shape, "float32"), 1, 5, False, False, "int32")
    (indices,) = call(form, [x], [TensorType(x.shape, "int32")])
    assert indices.ravel().tolist() == [2, 0, 4, 1, 3]


@pytest.mark.parametrize("reduction", ["update", "add", "max"])
def test_scatter_nd_leaves_out_what_is_outside(reduction: str) -> None:
    data = RNG.standard_normal((6, 17)).astype(np.float32)  # rows (3, 2) merged
    indices = np.array([[0, 1], [2, 0], [0, 1], [-1, -2], [3, 0], [0, -3]], np.int64)
    updates = RNG.standard_normal((6, 17)).astype(np.float32)
    want = data.reshape(3, 2, 17).copy()
    for (a, b), row in zip(indices[:4], updates[:4], strict=True):
        old = want[a, b]
        want[a, b] = {"update": row, "add": old + row, "max": np.maximum(old, row)}[reduction]
    whole = TensorType((3, 2, 17), "float32")
    types = [TensorType(a.shape, str(a.dtype)) for a in (indices, updates)]
    form = scatter_nd(whole, types[0], types[1], reduction)
    (got,) = call(form, [data, indices, updates], [TensorType(data.shape, "float32")])
    np.testing.assert_array_equal(got, want.reshape(6, 17))


def test_scatter_elements_along_an_axis() -> None:
    data = RNG.standard_normal((3, 4, 5)).astype(np.float32)
    indices = RNG.integers(-4, 4, (3, 2, 5))
    indices[0, 0, 0], indices[1, 1, 1] = 4, -5
    updates = RNG.standard_normal((3, 2, 5)).astype(np.float32)
    want = data.copy()
    for place in np.ndindex(*indices.shape):
        if -4 <= indices[place] < 4:
            want[place[0], indices[place], place[2]] += updates[place]
    types = [TensorType(a.shape, str(a.dtype)) for a in (data, indices, updates)]
    (got,) = call(
        scatter_elements(*types, axis=1, reduction="add"), [data, indices, updates], types[:1]
    )
    np.testing.assert_array_equal(got, want)
