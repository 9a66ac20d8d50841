"""Arithmetic of functions that nobody scheduled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tvm import te

from millijoule.targets.passes.count import count_arithmetic


def pointwise(expression: Callable[..., Any], *dtypes: str) -> Any:
    inputs = [te.placeholder((4, 6), dtype, name=f"x{i}") for i, dtype in enumerate(dtypes)]
    out = te.compute((4, 6), lambda *i: expression(*(x[i] for x in inputs)), name="y")
    return te.create_prim_func([*inputs, out])


@pytest.mark.parametrize(
    ("expression", "counts"),
    [
        (lambda a, b: a + b, (0, 24)),
        (lambda a, b: a * b - a, (24, 24)),
        (lambda a, b: a / b, (24, 0)),
        (lambda a, b: te.exp(a + b), (0, 24)),
    ],
)
def test_pointwise(expression: Callable[..., Any], counts: tuple[int, int]) -> None:
    assert count_arithmetic(pointwise(expression, "float32", "float32")) == counts


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_integer_elements_count(dtype: str) -> None:
    assert count_arithmetic(pointwise(lambda a, b: a * b + a, dtype, dtype)) == (24, 24)


def test_integers_made_of_indices_do_not_count() -> None:
    out = te.compute((4, 6), lambda i, j: i * 6 + j, name="y")
    assert count_arithmetic(te.create_prim_func([out])) == (0, 0)


def test_reductions() -> None:
    x = te.placeholder((5, 7), "float32", name="x")
    axis = te.reduce_axis((0, 7), name="k")
    total = te.compute((5,), lambda i: te.sum(x[i, axis] * x[i, axis], axis=axis), name="y")
    assert count_arithmetic(te.create_prim_func([x, total])) == (35, 35)


def test_index_arithmetic_does_not_count() -> None:
    x = te.placeholder((12,), "float32", name="x")
    y = te.compute((4, 3), lambda i, j: x[i * 3 + j] + 1.0, name="y")
    assert count_arithmetic(te.create_prim_func([x, y])) == (0, 12)
