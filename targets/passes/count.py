"""Count the arithmetic on elements of an ordinary (unscheduled) TIR function."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import tvm
from tvm import s_tir, tirx

from millijoule.converters.ops.symbols import size_of
from millijoule.errors import UnsupportedError
from millijoule.sizes import Extent

_ADDS = (tirx.Add, tirx.Sub)
_MULTIPLIES = (tirx.Mul, tirx.Div)


Sizes = Mapping[Any, Extent]


def count_arithmetic(func: tirx.PrimFunc, sizes: Sizes = MappingProxyType({})) -> tuple[int, int]:
    """(multiplies, adds) on elements of tensors; index arithmetic does not count.

    ``sizes``: what size variables stand for; numbers of operations that vary with them are sizes.
    """
    return _count(func.body, 1, sizes)


def _count(node: Any, times: Extent, sizes: Sizes) -> tuple[int, int]:
    if isinstance(node, tirx.For):
        return _count(node.body, times * _extent(node.extent, sizes), sizes)
    multiplies: Any = 0
    adds: Any = 0
    if isinstance(node, tirx.BufferStore):
        return _count(node.value, times, sizes)
    if isinstance(node, (*_ADDS, *_MULTIPLIES)) and _reads(node):
        multiplies += times * isinstance(node, _MULTIPLIES)
        adds += times * isinstance(node, _ADDS)
    for child in _children(node):
        m, a = _count(child, times, sizes)
        multiplies, adds = multiplies + m, adds + a
    return multiplies, adds


def _reads(node: Any) -> bool:
    """Whether a value depends on elements: loop variables alone make an index."""
    if isinstance(node, tvm.ir.expr.TensorLoad) or str(node.ty.dtype).startswith("float"):
        return True
    return any(_reads(child) for child in _children(node))


def _extent(extent: Any, sizes: Sizes) -> Extent:
    try:
        return size_of(extent, sizes)
    except UnsupportedError:  # bounds that depend on other loops
        return 1


def _children(node: Any) -> list[Any]:
    """Sub-statements and value operands, without indices and the initialisation of reductions."""
    if isinstance(node, tirx.SeqStmt):
        return list(node.seq)
    if isinstance(node, s_tir.SBlockRealize):
        return [node.block.body]
    if isinstance(node, tirx.IfThenElse):
        return [node.then_case] + ([node.else_case] if node.else_case is not None else [])
    if isinstance(node, tirx.Select):
        return [node.true_value, node.false_value]
    if isinstance(node, tirx.Cast):
        return [node.value]
    if isinstance(node, tvm.ir.Call):
        return list(node.args)
    if hasattr(node, "a") and hasattr(node, "b"):
        return [node.a, node.b]
    if isinstance(node, tirx.AttrStmt):
        return [node.body]
    return []
