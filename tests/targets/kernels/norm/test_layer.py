"""Layer norm against float64, over widths around vectors and blocks of four."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.kernels import ISAS, call, types_of
from fixtures.operands import normal
from millijoule.converters.ops import TensorType
from millijoule.targets.kernels import form
from millijoule.targets.kernels.epilogue import Step
from millijoule.targets.kernels.norm.layer import LayerNorm, layer_norm_f32
from millijoule.targets.target import AVX2, Isa

EPSILON = 1e-5


def normed(
    terms: list[np.ndarray],
    affine: list[np.ndarray],
    isa: Isa,
    extra: tuple[np.ndarray, ...] = (),
    steps: tuple[Step, ...] = (),
) -> np.ndarray:
    *outer, width = terms[0].shape
    norm = LayerNorm(
        int(np.prod(outer)), width, EPSILON, len(terms) == 2, bool(affine), len(affine) == 2
    )
    result = TensorType(terms[0].shape, "float32")
    arrays = [*terms, *affine]
    kernel = layer_norm_f32(norm, types_of(arrays), types_of(extra), result, steps, isa)
    return call(kernel, [*arrays, *extra], [result], isa)[0]


def reference(terms: list[np.ndarray], affine: list[np.ndarray]) -> np.ndarray:
    x = sum(t.astype(np.float64) for t in terms)
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + EPSILON)
    if affine:
        y = y * affine[0]
    return y + affine[1] if len(affine) == 2 else y


def operands(width: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Two terms of a sum; weight and bias."""
    terms = [normal((2, 3, width), seed) for seed in (0, 1)]
    return terms, [normal((width,), seed) for seed in (2, 3)]


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
@pytest.mark.parametrize("width", [1, 3, 15, 16, 17, 63, 64, 65, 200])
def test_widths(width: int, isa: Isa) -> None:
    terms, affine = operands(width)
    got = normed(terms, affine, isa)
    np.testing.assert_allclose(got, reference(terms, affine), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("terms", "affine"), [(1, 2), (2, 1), (1, 0)])
def test_forms(terms: int, affine: int) -> None:
    x, more = (v[:n] for v, n in zip(operands(40), (terms, affine), strict=True))
    np.testing.assert_allclose(normed(x, more, AVX2), reference(x, more), rtol=1e-5, atol=1e-5)


def test_far_from_zero() -> None:
    """The square of the mean would take all digits of the variance along."""
    x = normal((4, 80)) + np.float32(1000)
    # rounding of the inputs' own last digit, 6e-5, is all that is left
    np.testing.assert_allclose(normed([x], [], AVX2), reference([x], []), atol=3e-4)


def test_epilogue() -> None:
    x, scale, residual = normal((5, 40)), normal((40,), 1), normal((5, 40), 2)
    steps = (
        Step("relax.multiply", 0, "column"),
        Step("relax.add", 1, "full"),
        Step("relax.nn.relu"),
    )
    got = normed([x], [], AVX2, (scale, residual), steps)
    expected = np.maximum(reference([x], []) * scale + residual, 0)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_same_bits_on_threads_and_in_any_place(monkeypatch: pytest.MonkeyPatch) -> None:
    x, affine = normal((7, 72)), [normal((72,), 1), normal((72,), 2)]
    whole = normed([x], affine, AVX2)
    np.testing.assert_array_equal(whole[4:5], normed([x[4:5].copy()], affine, AVX2))
    monkeypatch.setattr(form, "PARALLEL_OPERATIONS", 1)
    np.testing.assert_array_equal(whole, normed([x], affine, AVX2))
