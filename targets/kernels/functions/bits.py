"""Building blocks of vector functions: values used twice, bit patterns, polynomials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T
from tvm import tirx

from millijoule.targets.kernels import simd

Vector = Any

# 1.5·2²³: adding it to |x| < 2²² leaves round-to-nearest(x) in the low bits of the sum
MAGIC = 12582912.0
MAGIC_BITS = 0x4B400000


def number(value: float, lanes: int) -> Vector:
    """The float32 constant ``value`` in every lane."""
    return simd.splat(T.float32(value), lanes)


def integer(value: int, lanes: int) -> Vector:
    """The int32 constant ``value`` in every lane."""
    return simd.splat(T.int32(value), lanes)


def let(value: Vector, body: Callable[[Vector], Vector], name: str = "t") -> Vector:
    """``body(value)`` with ``value`` computed once, however often ``body`` uses it.

    An expression is a tree: without this its size doubles with every value used twice.
    """
    if isinstance(value, tirx.Var):
        return body(value)
    bound = tirx.Var(name, value.ty)
    return tirx.Let(bound, value, body(bound))


def as_int(x: Vector, lanes: int) -> Vector:
    """The bits of float32 as int32."""
    return T.reinterpret(simd.vector_type("int32", lanes), x)


def as_float(x: Vector, lanes: int) -> Vector:
    """The bits of int32 as float32."""
    return T.reinterpret(simd.vector_type("float32", lanes), x)


def polynomial(coefficients: Sequence[float], x: Vector, lanes: int) -> Vector:
    """Horner's rule, lowest power first in ``coefficients``."""
    value = number(coefficients[-1], lanes)
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + number(coefficient, lanes)
    return value


def at_most(limit: float, x: Vector, lanes: int) -> Vector:
    """min(x, limit); NaN stays NaN, for the comparison is false and x the second choice."""
    return T.min(number(limit, lanes), x)


def at_least(limit: float, x: Vector, lanes: int) -> Vector:
    """max(x, limit); NaN stays NaN."""
    return T.max(number(limit, lanes), x)


def clamp(x: Vector, low: float, high: float, lanes: int) -> Vector:
    """x between two limits; NaN stays NaN."""
    return at_least(low, at_most(high, x, lanes), lanes)
