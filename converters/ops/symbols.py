"""Sizes as TVM has them: one variable per dimension, the same in every module.

A `Dim` stands for the same TVM variable wherever it comes from, so that types can be compared, and
the bounds of a variable are known to whoever meets it.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import reduce
from typing import Any

import tvm
from tvm import tirx

from millijoule.errors import UnsupportedError
from millijoule.sizes import Dim, Extent, Size, divided

_VARIABLES: dict[Dim, tirx.Var] = {}
_DIMS: dict[tirx.Var, Dim] = {}
_OPERATIONS = {tirx.Add: operator.add, tirx.Sub: operator.sub, tirx.Mul: operator.mul}


def variable_of(dim: Dim) -> tirx.Var:
    """The int64 variable of TVM that stands for ``dim``."""
    if dim not in _VARIABLES:
        var = tirx.Var(dim.name, "int64")
        _VARIABLES[dim], _DIMS[var] = var, dim
    return _VARIABLES[dim]


def expression_of(size: Size) -> Any:
    """``size`` as an expression of TVM."""
    products = [
        reduce(operator.mul, [variable_of(d) for d in product], tirx.IntImm("int64", c))
        for product, c in size.terms
    ]
    return tvm.sym.Analyzer().simplify(reduce(operator.add, products))


Size.to_compiler = staticmethod(expression_of)


def size_of(value: Any, known: Mapping[Any, Extent] | None = None) -> Extent:
    """The size that an expression of TVM computes; ``known``: what other variables stand for.

    UnsupportedError for what is no sum of products of dimensions.
    """
    if isinstance(value, int | Size):
        return value
    if isinstance(value, tirx.IntImm):
        return int(value)
    if isinstance(value, tirx.Cast):
        return size_of(value.value, known)
    found = _variable(value, known or {}) if isinstance(value, tirx.Var) else _result(value, known)
    if found is None:
        raise UnsupportedError(
            f"[dynamic] a size must be a sum of products of dimensions, but is {value}; build for "
            "fixed sizes, or make another axis dynamic"
        )
    return found


def _variable(var: tirx.Var, known: Mapping[Any, Extent]) -> Extent | None:
    if var in known:
        return known[var]
    return Size.of(_DIMS[var]) if var in _DIMS else None


def _result(value: Any, known: Mapping[Any, Extent] | None) -> Extent | None:
    """Of an operation on sizes; None if that is no size."""
    for kind, operation in _OPERATIONS.items():
        if isinstance(value, kind):
            result: Extent = operation(size_of(value.a, known), size_of(value.b, known))
            return result
    if isinstance(value, tirx.FloorDiv | tirx.Div):
        return divided(size_of(value.a, known), size_of(value.b, known))
    return None
