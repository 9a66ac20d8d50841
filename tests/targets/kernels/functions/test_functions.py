"""Every vector function keeps the error that it states, over its range and for odd numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import tvm.script.ir_builder.tirx as T

from fixtures.kernels import call
from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import KernelForm, functions, simd
from millijoule.targets.target import AVX2, SSE2

LANES = [1, 4, 8, 16]
SIZE = 1 << 16
TINY = float(np.finfo(np.float32).tiny)
SPECIAL = np.float32(
    [0.0, -0.0, math.inf, -math.inf, math.nan, 1e-40, -1e-40, TINY, 3.4e38, -3.4e38]
)


@dataclass(frozen=True)
class Case:
    """A function, its exact value in float64, the range, and the ulp it may be off there.

    ``floor``: an absolute error that is allowed besides, where the result may cancel.
    """

    function: functions.Function
    exact: Callable[[np.ndarray], np.ndarray]
    low: float
    high: float
    ulp: float
    floor: float = 0.0
    geometric: bool = False


def _phi(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erfc)(-x / math.sqrt(2)) / 2


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


CASES = {
    "exp": Case(functions.exp, np.exp, -103.9, 88.7, 2),
    "exp2": Case(functions.exp2, np.exp2, -149.9, 127.99, 2),
    "sigmoid": Case(functions.sigmoid, lambda x: 1 / (1 + np.exp(-x)), -87.3, 88, 4),
    "tanh": Case(functions.tanh, np.tanh, -12, 12, 5),
    "softplus": Case(functions.softplus, _softplus, -87, 100, 4),
    "log": Case(functions.log, np.log, 1e-44, 3.4e38, 2, geometric=True),
    "log near 1": Case(functions.log, np.log, 0.5, 2, 2),
    "log2": Case(functions.log2, np.log2, 1e-44, 3.4e38, 2, geometric=True),
    "log2 near 1": Case(functions.log2, np.log2, 0.5, 2, 2),
    "log10": Case(functions.log10, np.log10, 1e-44, 3.4e38, 3, geometric=True),
    "erf": Case(functions.erf, np.vectorize(math.erf), -6, 6, 7),
    "gelu": Case(functions.gelu, lambda x: x * _phi(x), -6, 6, 0, floor=2e-6),
    "gelu_tanh": Case(functions.gelu_tanh, _gelu_tanh, -2, 20, 8),
    "gelu_tanh, tail": Case(functions.gelu_tanh, _gelu_tanh, -20, -2, 8, floor=1e-7),
    "silu": Case(functions.silu, lambda x: x / (1 + np.exp(-x)), -80, 80, 4),
    "mish": Case(functions.mish, lambda x: x * np.tanh(_softplus(x)), -80, 80, 6),
    "sqrt": Case(functions.sqrt, np.sqrt, TINY, 3.4e38, 0.51, geometric=True),
    "rsqrt": Case(functions.rsqrt, lambda x: 1 / np.sqrt(x), TINY, 3.4e38, 1.5, geometric=True),
    "sin": Case(functions.sin, np.sin, -100, 100, 2),
    "cos": Case(functions.cos, np.cos, -100, 100, 2),
    "sin, large": Case(functions.sin, np.sin, 1, 2.0**28, 2, geometric=True),
    "cos, large": Case(functions.cos, np.cos, 1, 2.0**28, 2, geometric=True),
}


def evaluate(function: functions.Function, x: np.ndarray, lanes: int) -> np.ndarray:
    line = TensorType(x.shape, "float32")
    with tir.kernel("unary", [line], [line]) as k:
        source, y = k.buffers
        with T.serial(0, x.size // lanes) as i:
            value = function(simd.load(source, [], i * lanes, lanes), lanes)
            simd.save(y, [], i * lanes, lanes, value)
    return call(KernelForm(k.func), [x], [line], AVX2 if lanes == 8 else SSE2)[0]


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("name", CASES)
def test_error(name: str, lanes: int) -> None:
    case = CASES[name]
    points = np.geomspace if case.geometric else np.linspace
    x = points(case.low, case.high, SIZE).astype(np.float32)
    if case.low < 0:  # around zero, down to subnormal numbers
        small = np.geomspace(1e-42, 1, SIZE // 4).astype(np.float32)
        x = np.concatenate([x[: SIZE // 2], x[SIZE // 2 :: 2], small, -small])[:SIZE].copy()
        x.resize(SIZE)
    exact = case.exact(x.astype(np.float64))
    error = np.abs(evaluate(case.function, x, lanes) - exact)
    allowed = case.ulp * np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    worst = np.argmax(error - np.maximum(allowed, case.floor))
    assert error[worst] <= max(allowed[worst], case.floor), (
        f"{name}({x[worst]!r}) is off by {error[worst]:.3g}, more than {allowed[worst]:.3g}"
    )


TORCH = {
    "exp": torch.exp,
    "exp2": torch.exp2,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": torch.nn.functional.softplus,
    "log": torch.log,
    "log2": torch.log2,
    "log10": torch.log10,
    "erf": torch.erf,
    "relu": torch.relu,
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "silu": torch.nn.functional.silu,
    "mish": torch.nn.functional.mish,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "sin": torch.sin,
    "cos": torch.cos,
}


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize("name", TORCH)
def test_odd_numbers(name: str, lanes: int) -> None:
    """Zeros, infinities, NaN, subnormal and huge numbers as torch has them."""
    x = np.resize(SPECIAL, 80).astype(np.float32)
    if name in ("sin", "cos"):
        x[np.abs(x) > 1e30] = 1  # beyond the stated range
    if name == "gelu":
        x[np.abs(x) > 1e30] = 1  # torch's own vectors give NaN for +∞
    y = evaluate(getattr(functions, name), x, lanes)
    expected = TORCH[name](torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-38)


@pytest.mark.parametrize("name", sorted({c.function.__name__ for c in CASES.values()}))
def test_same_bits_whatever_the_lanes(name: str) -> None:
    x = np.random.default_rng(0).normal(0, 3, 4096).astype(np.float32)
    function = getattr(functions, name)
    one, *others = (evaluate(function, x, lanes) for lanes in (8, 16))
    for other in others:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["erf", "tanh"])
def test_odd_functions(name: str) -> None:
    x = np.linspace(0, 20, 8192, dtype=np.float32)
    function = getattr(functions, name)
    y = evaluate(function, x, 8)
    np.testing.assert_array_equal(y, -evaluate(function, -x, 8))
    assert y.max() == 1
