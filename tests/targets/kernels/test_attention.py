"""The attention kernel against NumPy in float64: tails, strides, masks, bits that do not vary."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import tvm.script.ir_builder.tirx as T

from fixtures.kernels import ISAS, call, types_of
from fixtures.operands import normal
from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import KernelForm, form, simd
from millijoule.targets.kernels.attention import AttentionShape, Strided, attention_f32
from millijoule.targets.kernels.attention.exponent import exp_of_negative
from millijoule.targets.target import AVX2, SCALAR, Isa

by_isa = pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)


def rows_first(shape: Sequence[int], operand: int) -> Strided:
    """[batch, rows, heads, columns], row-major, seen as [batch, head, row, column]."""
    _, rows, heads, columns = shape
    return Strided(operand, 0, (rows * heads * columns, columns, heads * columns, 1))


def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    isa: Isa,
    *,
    bias: tuple[np.ndarray, tuple[int, ...]] | None = None,
    causal: bool = False,
) -> np.ndarray:
    """q, k, v of [batch, rows, heads, columns]; ``bias``: its values, and strides to read it by."""
    batch, queries, heads, width = q.shape
    shape = AttentionShape(
        (batch, heads), queries, k.shape[1], width, v.shape[3], width**-0.5, causal
    )
    views = [rows_first(a.shape, i) for i, a in enumerate((q, k, v))]
    arrays = [a.reshape(-1) for a in (q, k, v)]
    if bias is not None:
        views.append(Strided(3, 0, bias[1]))
        arrays.append(bias[0].reshape(-1))
    out = (batch, queries, heads, v.shape[3])
    result = TensorType((math.prod(out),), "float32")
    kernel = attention_f32(shape, views, rows_first(out, 0), types_of(arrays), result, isa)
    return call(kernel, arrays, [result], isa)[0].reshape(out)


def reference(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, bias: np.ndarray | float = 0.0
) -> np.ndarray:
    """In float64."""
    q, k, v = (a.astype(np.float64).transpose(0, 2, 1, 3) for a in (q, k, v))
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1]) + bias
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return (powers / powers.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3)


def operands(
    queries: int, keys: int, width: int, values: int, batch: int = 1, heads: int = 2
) -> list[np.ndarray]:
    shapes = ((queries, width), (keys, width), (keys, values))
    return [normal((batch, n, heads, d), i) for i, (n, d) in enumerate(shapes)]


SHAPES = [(1, 1, 1, 1), (7, 17, 15, 17), (13, 63, 16, 64), (5, 65, 40, 20), (17, 130, 64, 80)]


@by_isa
@pytest.mark.parametrize("index", range(2))
def test_shapes(index: int, isa: Isa) -> None:
    """Every shape on two instruction sets or more, each instruction set on two shapes."""
    q, k, v = operands(*SHAPES[(2 * ISAS.index(isa) + index) % len(SHAPES)])
    np.testing.assert_allclose(attention(q, k, v, isa), reference(q, k, v), atol=2e-6)


@by_isa
def test_causal(isa: Isa) -> None:
    q, k, v = operands(35, 35, 16, 8)
    later = np.triu(np.full((35, 35), -np.inf), 1)
    np.testing.assert_allclose(
        attention(q, k, v, isa, causal=True), reference(q, k, v, later), atol=2e-6
    )


@pytest.mark.parametrize(
    ("shape", "strides"),
    [
        ((1, 1, 9, 37), (0, 0, 37, 1)),
        ((1, 3, 9, 37), (0, 9 * 37, 37, 1)),
        ((2, 1, 1, 37), (37, 0, 0, 1)),
        ((1, 1, 9, 1), (0, 0, 1, 0)),
    ],
    ids=["scores", "heads", "keys", "queries"],
)
def test_biases(shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    """Biases that repeat along some axes, one of them −∞."""
    q, k, v = operands(9, 37, 24, 24, batch=2, heads=3)
    bias = normal(shape, 9)
    if shape[-1] > 1:
        bias[..., 3] = -np.inf
    got = attention(q, k, v, AVX2, bias=(bias, strides))
    np.testing.assert_allclose(got, reference(q, k, v, bias), atol=2e-6)


def test_a_row_without_keys_is_zero() -> None:
    q, k, v = operands(3, 20, 8, 8)
    bias = np.zeros((3, 20), np.float32)
    bias[1] = -np.inf
    y = attention(q, k, v, AVX2, bias=(bias, (0, 0, 20, 1)))
    assert not y[:, 1].any()
    np.testing.assert_allclose(y[:, 0], reference(q, k, v)[:, 0], atol=2e-6)


def test_slices_of_one_projection() -> None:
    """q, k and v out of [rows, 3, heads, columns], and a result with the heads first."""
    rows, heads, width = 21, 2, 16
    qkv = normal((rows, 3, heads, width))
    strides = (width, 3 * heads * width, 1)
    views = [Strided(0, i * heads * width, strides) for i in range(3)]
    result = TensorType((heads * rows * width,), "float32")
    kernel = attention_f32(
        AttentionShape((heads,), rows, rows, width, width, width**-0.5),
        views,
        Strided(0, 0, (rows * width, width, 1)),
        types_of([qkv.reshape(-1)]),
        result,
        AVX2,
    )
    (y,) = call(kernel, [qkv.reshape(-1)], [result], AVX2)
    expected = reference(*(qkv[None, :, i] for i in range(3)))
    np.testing.assert_allclose(y.reshape(heads, rows, width), expected[0].swapaxes(0, 1), atol=2e-6)


def test_keys_in_columns() -> None:
    """k may lie transposed; it is packed anyway."""
    rows, width = 19, 24
    q, k, v = (normal((rows, width), i) for i in range(3))
    arrays = [q.reshape(-1), k.T.copy().reshape(-1), v.reshape(-1)]
    views = [Strided(0, 0, (width, 1)), Strided(1, 0, (1, rows)), Strided(2, 0, (width, 1))]
    shape = AttentionShape((), rows, rows, width, width, width**-0.5)
    result = TensorType((rows * width,), "float32")
    kernel = attention_f32(shape, views, Strided(0, 0, (width, 1)), types_of(arrays), result, AVX2)
    (y,) = call(kernel, arrays, [result], AVX2)
    expected = reference(*(a[None, :, None] for a in (q, k, v)))
    np.testing.assert_allclose(y.reshape(rows, width), expected[0, :, 0], atol=2e-6)


@by_isa
def test_bits_depend_on_nothing_but_the_row(isa: Isa, monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = operands(11, 37, 16, 16)
    many = attention(q, k, v, isa)
    one = attention(q[:, 4:5].copy(), k, v, isa)
    np.testing.assert_array_equal(one[:, 0], many[:, 4])
    monkeypatch.setattr(form, "PARALLEL_OPERATIONS", 1)
    np.testing.assert_array_equal(attention(q, k, v, isa), many)


@pytest.mark.parametrize("isa", [AVX2, SCALAR], ids=lambda isa: isa.name)
def test_exponentials_of_negative_numbers(isa: Isa) -> None:
    """Within 2 ulp of the result, 0 where that would be subnormal."""
    x = -np.logspace(-8, 3, 4096, dtype=np.float32)
    x[:3] = 0, -np.inf, -87.3
    line = TensorType((4096,), "float32")
    with tir.kernel("exponent", [line], [line]) as k:
        source, target = k.buffers
        with T.serial(0, 4096 // isa.lanes) as i:
            value = simd.load(source, [], i * isa.lanes, isa.lanes)
            power = exp_of_negative(value, isa.lanes, isa)
            simd.save(target, [], i * isa.lanes, isa.lanes, power)
    (y,) = call(KernelForm(k.func), [x], [line], isa)
    exact = np.exp(x.astype(np.float64))
    assert np.abs(y - exact).max() < 1.2e-7
    normal_ = exact >= np.finfo(np.float32).tiny
    assert (np.abs(y - exact)[normal_] <= 2 * np.spacing(exact[normal_].astype(np.float32))).all()
    assert not y[exact < np.finfo(np.float32).tiny / 2].any()
