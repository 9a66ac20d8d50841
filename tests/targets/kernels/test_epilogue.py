"""Approximations keep the error that they state."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import tvm.script.ir_builder.tirx as T

from fixtures.kernels import call
from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import KernelForm, simd
from millijoule.targets.kernels.epilogue import UNARY
from millijoule.targets.target import AVX2, SSE2

POINTS = 96_000
X = np.concatenate(
    [np.linspace(-6, 6, POINTS - 16, dtype=np.float32), np.float32([0, -0.0, 1e-30, -1e-30] * 4)]
)


@cache
def evaluate(op: str, lanes: int) -> np.ndarray:
    line = TensorType((POINTS,), "float32")
    with tir.kernel("unary", [line], [line]) as k:
        x, y = k.buffers
        with T.serial(0, POINTS // lanes) as i:
            value = UNARY[op](simd.load(x, [], i * lanes, lanes), lanes)
            simd.save(y, [], i * lanes, lanes, value)
    return call(KernelForm(k.func), [X], [line], AVX2 if lanes == 8 else SSE2)[0]


@pytest.mark.parametrize("lanes", [1, 4, 8, 16])
def test_erf(lanes: int) -> None:
    y = evaluate("relax.erf", lanes)
    assert np.abs(y - np.vectorize(math.erf)(X.astype(np.float64))).max() < 5e-7
    assert np.abs(y).max() <= 1
    np.testing.assert_array_equal(y[: POINTS - 16], -y[: POINTS - 16][::-1])


@pytest.mark.parametrize("lanes", [1, 8, 16])
def test_gelu(lanes: int) -> None:
    x = X.astype(np.float64)
    exact = x / 2 * (1 + np.vectorize(math.erf)(x / 2**0.5))
    assert np.abs(evaluate("relax.nn.gelu", lanes) - exact).max() < 2e-6


def test_relu() -> None:
    np.testing.assert_array_equal(evaluate("relax.nn.relu", 8), np.maximum(X, 0))
