"""Activation functions of networks, out of the elementary ones."""

from __future__ import annotations

import math

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels.functions.bits import (
    Vector,
    at_least,
    at_most,
    let,
    number,
)
from millijoule.targets.kernels.functions.error_function import erf
from millijoule.targets.kernels.functions.exponential import exp


def relu(x: Vector, lanes: int) -> Vector:
    """max(x, 0)."""
    return at_least(0, x, lanes)


def gelu(x: Vector, lanes: int) -> Vector:
    """Exact GELU, x·Φ(x), through `erf`; within 2e-6 up to |x| = 6, then within 6e-8·|x|."""
    half, scale = number(0.5, lanes), number(0.5**0.5, lanes)
    return let(x, lambda v: v * half * (erf(v * scale, lanes) + number(1, lanes)), "x")


def gelu_tanh(x: Vector, lanes: int) -> Vector:
    """GELU by its tanh formula: x·σ(2·√(2/π)·(x + 0.044715·x³)).

    Within 8 ulp from −2 up, below within 1e-7: the exponent's rounding grows with it.
    """
    first = number(-2 * math.sqrt(2 / math.pi), lanes)
    third = number(-2 * math.sqrt(2 / math.pi) * 0.044715, lanes)
    one = number(1, lanes)
    return let(x, lambda v: v / (one + exp(v * (first + third * (v * v)), lanes)), "x")


def silu(x: Vector, lanes: int) -> Vector:
    """x·σ(x) within 4 ulp (0 below −88.7)."""
    one, zero = number(1, lanes), number(0, lanes)
    return let(x, lambda v: v / (one + exp(zero - v, lanes)), "x")


def mish(x: Vector, lanes: int) -> Vector:
    """x·tanh(softplus(x)) within 6 ulp: with n = eˣ·(eˣ + 2) it is x·n/(n + 2)."""
    two = number(2, lanes)

    def ratio(v: Vector, e: Vector) -> Vector:
        return let(e * (e + two), lambda n: v * (n / (n + two)), "n")

    # above 20 the ratio is 1 in float32, and eˣ squared would soon be infinite
    return let(x, lambda v: let(exp(at_most(20, v, lanes), lanes), lambda e: ratio(v, e), "e"), "x")


def sqrt(x: Vector, _lanes: int) -> Vector:
    """Square root, rounded correctly."""
    return T.sqrt(x)


def rsqrt(x: Vector, lanes: int) -> Vector:
    """1/√x within 1.5 ulp."""
    return number(1, lanes) / T.sqrt(x)
