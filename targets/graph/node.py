"""What the visitor hands to an emitter: one operator call with its operands resolved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from millijoule.converters.ops import TensorType


@dataclass(frozen=True)
class Value:
    """A tensor of the graph that is being written. ``handle`` belongs to the format."""

    name: str
    type: TensorType
    handle: Any = None


# an operand: a tensor, a constant, a number, a shape or list of operands, or nothing
Arg = Value | np.ndarray | int | float | tuple["Arg", ...] | None


@dataclass(frozen=True)
class Node:
    """One call of a Relax operator (``relax.add``), or of a vocabulary op (``mj.binary_linear``).

    ``attrs`` holds the operator's attributes by name as Python values, and ``results`` the types of
    what it returns. ``layer``: the torch module it came from, "" where nobody knows.
    """

    op: str
    args: tuple[Arg, ...]
    attrs: Mapping[str, Any]
    results: tuple[TensorType, ...]
    layer: str = ""
    name: str = ""
    scan: Scan | None = None

    @property
    def type(self) -> TensorType:
        """Type of the only (or first) result."""
        return self.results[0]


@dataclass(frozen=True)
class Scan:
    """A loop along time in place of a vocabulary op whose state runs from step to step.

    ``step`` is a Relax function over the operands in order, with one step of every sequence in
    place of it, that returns the new carried values, then one step of every stacked result.
    ``sequences``: operand → axis of time; ``carried``: operands that hold initial states.
    ``results``: for each result of the op "carry" and its index in ``carried``, or "stack" and the
    index among the stacked values; stacked along ``axis``.
    """

    step: Any
    steps: int
    sequences: Mapping[int, int]
    carried: tuple[int, ...]
    results: tuple[tuple[str, int], ...]
    axis: int


@dataclass(frozen=True)
class Written:
    """An operator call, and how many operators of the format it became."""

    node: Node
    nodes: int


class Emitter(Protocol):
    """A graph under construction in one format.

    ``layer``: the torch module whose operator is being written, set by the visitor.
    """

    layer: str

    @property
    def written(self) -> int:
        """Operators of the format so far."""

    def input(self, name: str, type: TensorType) -> Value:
        """Declare an input of the graph."""

    def output(self, name: str, value: Arg) -> None:
        """Declare ``value`` an output of the graph."""

    def scan(self, node: Node, walk_step: Callable[[Emitter, Sequence[Arg]], list[Arg]]) -> Result:
        """Emit a loop; ``walk_step`` writes one step into the emitter of its body."""


Result = Value | tuple[Value, ...]
Handler = Callable[[Any, Node], Result]
Table = Mapping[str, Handler]


@dataclass
class Registry:
    """A table under construction: ``@registry("relax.add", …)`` enters an emitter."""

    table: dict[str, Handler] = field(default_factory=dict)

    def __call__(self, *ops: str) -> Callable[[Handler], Handler]:
        """Decorator that enters a function under the names ``ops``; each may be entered once."""

        def enter(handler: Handler) -> Handler:
            for op in ops:
                if op in self.table:
                    raise ValueError(f"operator {op!r} has two emitters")
                self.table[op] = handler
            return handler

        return enter
