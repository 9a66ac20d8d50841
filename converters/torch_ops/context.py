"""What a conversion of a torch operator works with."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import fx
from tvm import relax

from millijoule.errors import UnsupportedError
from millijoule.sizes import Dim, Size

Dims = tuple[int, ...]  # with a Size for what varies
# What the symbols of the program that is being imported stand for
SYMBOLS: ContextVar[Mapping[str, Dim]] = ContextVar("SYMBOLS", default={})  # noqa: B039


@dataclass
class Context:
    """One import.

    ``importer``: TVM's, of which conversions use the environment and the block builder.
    ``constants``: value of every placeholder that is a parameter, buffer or folded constant.
    """

    importer: Any = None
    constants: dict[str, torch.Tensor] = field(default_factory=dict)
    _bound: dict[str, Callable[[fx.Node], Any]] | None = None

    def tvm_converters(self) -> dict[str, Callable[[fx.Node], Any]]:
        """TVM's own conversions, bound to this import."""
        if self._bound is None:
            self._bound = self.importer.create_convert_map()
        return self._bound

    def emit(self, expr: relax.Expr) -> relax.Var:
        """Bind ``expr`` to a new variable."""
        return self.importer.block_builder.emit(expr)

    def cast(self, expr: relax.Expr, dtype: str) -> relax.Expr:
        """``expr`` in ``dtype``."""
        if str(expr.ty.dtype) == dtype:
            return expr
        return self.emit(relax.op.astype(expr, dtype))

    def value(self, argument: Any, dtype: str | None = None) -> relax.Expr:
        """A node's value or a Python number as a Relax expression, in ``dtype`` if that is given.

        A number without ``dtype`` gets torch's default for its kind.
        """
        if isinstance(argument, fx.Node):
            expr = self.importer.env[argument]
            if isinstance(expr, relax.Expr):
                return expr if dtype is None else self.cast(expr, dtype)
            argument = expr
        kind = "float32" if isinstance(argument, float) else "int64"
        return relax.const(argument, dtype or ("bool" if isinstance(argument, bool) else kind))

    def constant(self, argument: Any) -> np.ndarray | None:
        """The value of a node that depends on no input, else None."""
        if isinstance(argument, fx.Node) and argument.name in self.constants:
            return self.constants[argument.name].detach().cpu().numpy()
        return None


Convert = Callable[[fx.Node, Context], Any]


def dtype_of(node: fx.Node) -> str:
    """The dtype that torch gives the node's (first) result."""
    val = node.meta["val"]
    tensor = val[0] if isinstance(val, tuple | list) else val
    return str(tensor.dtype).removeprefix("torch.")


def shape_of(node: fx.Node) -> Dims:
    """The shape that torch gives the node's (first) result."""
    val = node.meta["val"]
    tensor = val[0] if isinstance(val, tuple | list) else val
    return tuple(extent_of(d) for d in tensor.shape)


def extent_of(size: Any) -> Any:
    """A size as torch has it, in numbers and dimensions.

    UnsupportedError for what is no sum of products of dimensions.
    """
    return size_of_formula(size.node.expr) if isinstance(size, torch.SymInt) else int(size)


def size_of_formula(formula: Any) -> Any:
    """A formula of SymPy over `SYMBOLS` as a `Size`."""
    if formula.is_Integer:
        return int(formula)
    if formula.is_Symbol and str(formula) in SYMBOLS.get():
        return Size.of(SYMBOLS.get()[str(formula)])
    if formula.is_Add or formula.is_Mul:
        operation = operator.add if formula.is_Add else operator.mul
        return reduce(operation, map(size_of_formula, formula.args))
    if formula.is_Pow and formula.exp.is_Integer and formula.exp > 0:
        return reduce(operator.mul, [size_of_formula(formula.base)] * int(formula.exp))
    raise UnsupportedError(
        f"[dynamic] a size must be a sum of products of dimensions, but is {formula}; build for "
        "fixed sizes, or make another axis dynamic"
    )


def argument(node: fx.Node, index: int, name: str, default: Any = None) -> Any:
    """An argument given by position or by name."""
    if len(node.args) > index:
        return node.args[index]
    return node.kwargs.get(name, default)


def axes_of(dims: Any, rank: int) -> list[int]:
    """Axes from the front; all of them if ``dims`` is None or empty."""
    if dims is None or dims == []:
        return list(range(rank))
    given = dims if isinstance(dims, list | tuple) else [dims]
    return [int(d) % rank for d in given]
