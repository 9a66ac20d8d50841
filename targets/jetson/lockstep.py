"""Integer expressions of a lowered kernel for all threads of a block at once.

A value is an array with one element per thread (and lane), or `Unknown` where it comes out of
memory; then all that is known is whether it can differ between threads.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm


@dataclass(frozen=True)
class Unknown:
    """A value out of memory; ``varies``: threads may see different ones."""

    varies: bool


Value = np.ndarray | Unknown
Load = Callable[[Any], Value]

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "FloorDiv": lambda a, b: a // np.where(b == 0, 1, b),
    "FloorMod": lambda a, b: a % np.where(b == 0, 1, b),
    # of numbers that are not negative, as everywhere in an index
    "Div": lambda a, b: a // np.where(b == 0, 1, b),
    "Mod": lambda a, b: a % np.where(b == 0, 1, b),
    "Min": np.minimum,
    "Max": np.maximum,
    "EQ": operator.eq,
    "NE": operator.ne,
    "LT": operator.lt,
    "LE": operator.le,
    "GT": operator.gt,
    "GE": operator.ge,
    "And": lambda a, b: (a != 0) & (b != 0),
    "Or": lambda a, b: (a != 0) | (b != 0),
    "BitwiseAnd": operator.and_,
    "BitwiseOr": operator.or_,
    "BitwiseXor": operator.xor,
    "LShift": operator.lshift,
    "RShift": operator.rshift,
}


class Evaluator:
    """Evaluates expressions; ``load(node)`` gives the value of a load and may note it."""

    def __init__(self, threads: int, load: Load) -> None:
        self.threads, self._load = threads, load
        self.values: dict[Any, Value] = {}

    def constant(self, value: int) -> np.ndarray:
        """``value`` in every thread."""
        return np.full(self.threads, value, np.int64)

    def __call__(self, node: Any) -> Value:
        """The value of ``node``."""
        kind = type(node).__name__
        if kind == "IntImm":
            return self.constant(int(node))
        if kind == "Var":
            return self.values.get(node, Unknown(varies=False))
        if kind in _BINARY:
            return self._combine(_BINARY[kind], [self(node.a), self(node.b)])
        if kind in ("FloatImm", "StringImm"):
            return Unknown(varies=False)
        found: Value = getattr(self, f"_{kind.lower()}")(node)
        return found

    def _combine(self, function: Callable[..., Any], parts: list[Value]) -> Value:
        arrays = [p for p in parts if isinstance(p, np.ndarray)]
        if len(arrays) < len(parts):
            return Unknown(any(varies(p) for p in parts))
        if any(a.ndim == 2 for a in arrays):
            arrays = [a if a.ndim == 2 else a[:, None] for a in arrays]
        found: np.ndarray = function(*arrays)
        return found

    def _not(self, node: Any) -> Value:
        return self._combine(lambda a: a == 0, [self(node.a)])

    def _cast(self, node: Any) -> Value:
        value = self(node.value)
        whole = "int" in str(node.ty.dtype) or "bool" in str(node.ty.dtype)
        return value if whole else Unknown(varies(value))

    def _select(self, node: Any) -> Value:
        parts = [self(p) for p in (node.condition, node.true_value, node.false_value)]
        return self._combine(lambda c, a, b: np.where(c != 0, a, b), parts)

    def _let(self, node: Any) -> Value:
        self.values[node.var] = self(node.value)
        return self(node.body)

    def _ramp(self, node: Any) -> Value:
        base, stride = self(node.base), self(node.stride)
        lanes = np.arange(int(node.lanes))
        return self._combine(lambda b, s: b[:, None] + s[:, None] * lanes, [base, stride])

    def _broadcast(self, node: Any) -> Value:
        return self(node.value)

    def _shuffle(self, node: Any) -> Value:
        return Unknown(any(varies(self(v)) for v in node.vectors))

    def _tensorload(self, node: Any) -> Value:
        return self._load(node)

    def _call(self, node: Any) -> Value:
        name = str(getattr(node.op, "name", ""))
        parts = [self(arg) for arg in node.args]
        if name == "tirx.if_then_else":
            return self._combine(lambda c, a, b: np.where(c != 0, a, b), parts)
        return Unknown(any(varies(p) for p in parts))


def varies(value: Value) -> bool:
    """Whether threads may see different values."""
    if isinstance(value, Unknown):
        return value.varies
    return bool((value != value[:1]).any())


def is_barrier(node: Any) -> bool:
    """Whether a call waits for all threads of the block."""
    return (
        isinstance(node, tvm.ir.Call)
        and str(getattr(node.op, "name", "")).endswith("tvm_storage_sync")
        and str(node.args[0].value).startswith("shared")
    )
