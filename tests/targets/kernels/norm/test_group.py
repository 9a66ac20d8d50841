"""Group norm against float64."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.kernels import ISAS, call, types_of
from fixtures.operands import normal
from millijoule.converters.ops import TensorType
from millijoule.targets.kernels import form
from millijoule.targets.kernels.epilogue import Step
from millijoule.targets.kernels.norm.group import GroupNorm, group_norm_f32
from millijoule.targets.target import AVX2, Isa

EPSILON = 1e-5


def normed(x: np.ndarray, groups: int, isa: Isa, *more: np.ndarray) -> np.ndarray:
    """With seeded weight and bias; ``more``: a residual, behind which stands a ReLU."""
    batch, channels, *inside = x.shape
    norm = GroupNorm(batch, channels, int(np.prod(inside)), groups, EPSILON)
    operands = [x, normal((channels,), 3), normal((channels,), 4)]
    steps = [Step("relax.add", 0, "full"), Step("relax.nn.relu")] if more else []
    result = TensorType(x.shape, "float32")
    kernel = group_norm_f32(norm, types_of(operands), types_of(more), result, steps, isa)
    return call(kernel, [*operands, *more], [result], isa)[0]


def reference(x: np.ndarray, groups: int) -> np.ndarray:
    rows = x.astype(np.float64).reshape(x.shape[0], groups, -1)
    centred = rows - rows.mean(-1, keepdims=True)
    y = (centred / np.sqrt(rows.var(-1, keepdims=True) + EPSILON)).reshape(x.shape)
    weight, bias = (normal((x.shape[1],), s).reshape(-1, 1, 1) for s in (3, 4))
    return y * weight + bias


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
@pytest.mark.parametrize("size", [(1, 17), (5, 7), (8, 16)])
def test_sizes(size: tuple[int, int], isa: Isa) -> None:
    x = normal((2, 6, *size))
    np.testing.assert_allclose(normed(x, 3, isa), reference(x, 3), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_groups_and_epilogue(groups: int) -> None:
    x, residual = normal((1, 6, 4, 9)), normal((1, 6, 4, 9), 5)
    expected = np.maximum(reference(x, groups) + residual, 0)
    got = normed(x, groups, AVX2, residual)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_same_bits_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    x = normal((2, 6, 5, 9))
    alone = normed(x, 3, AVX2)
    monkeypatch.setattr(form, "PARALLEL_OPERATIONS", 1)
    np.testing.assert_array_equal(alone, normed(x, 3, AVX2))
