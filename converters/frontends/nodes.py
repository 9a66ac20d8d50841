"""What a recorded node turns into: values of steps and of whole tensors, and their functions."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from millijoule.converters.frontends.network import Layout, Op, Ref
from millijoule.converters.frontends.trace import VALUE
from millijoule.errors import UnsupportedError

_MOVES = ("contiguous", "detach", "clone")
MEMBRANE, SYNAPSE = "membrane", "synapse"


class Constant(nn.Module):
    """A tensor as a layer without input."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value.detach().clone())

    def forward(self) -> Any:
        """The tensor."""
        return self.value


@dataclass(frozen=True)
class Method:
    """``getattr(x, name)(…)`` as a function."""

    name: str

    @property
    def moves(self) -> bool:
        """Whether the values stay the same."""
        return self.name in _MOVES

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the method."""
        return getattr(x, self.name)(*args, **kwargs)


@dataclass(frozen=True)
class Reshape:
    """Steps to features of shape ``features``."""

    features: tuple[int, ...]
    moves = True

    def __call__(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        """[R, …] → [R, *features]."""
        return x.reshape(x.shape[0], *self.features)


@dataclass(frozen=True)
class Whole:
    """A tensor that belongs to no step. ``varies``: it depends on the input."""

    ref: Ref
    varies: bool = True


@dataclass(frozen=True)
class Step:
    """A value of step ``t``."""

    ref: Ref
    t: int


@dataclass(frozen=True)
class Total:
    """The sum of ``ref`` over the first ``count`` steps."""

    ref: Ref
    count: int


Info = Whole | Step | Total


@dataclass(frozen=True)
class Folded:
    """The operations; what the record returns, by name; where the input has time."""

    ops: dict[str, Op]
    results: dict[str, Info]
    layout: Layout
    constants: dict[str, Constant]


def refuse(what: str, remedy: str) -> UnsupportedError:
    """The error for a network that cannot be rebuilt."""
    return UnsupportedError(f"[snntorch] {what}; {remedy}")


def refs_in(tree: Any) -> list[Ref]:
    """Every reference in a nest of arguments."""
    leaves, _ = pytree.tree_flatten(tree, is_leaf=lambda a: isinstance(a, Ref))
    return [leaf for leaf in leaves if isinstance(leaf, Ref)]


def live(ops: Mapping[str, Op], wanted: Sequence[Ref]) -> list[Op]:
    """The operations that ``wanted`` need, in order; UnsupportedError for a synaptic current."""
    needed = {ref.name for ref in wanted}
    kept = []
    for op in reversed(list(ops.values())):
        if op.name in needed or f"{op.name}.{MEMBRANE}" in needed:
            kept.append(op)
            needed |= {ref.name for ref in refs_in((op.args, dict(op.kwargs)))}
    for name in needed:
        if name.endswith(f".{SYNAPSE}") and name not in ops:
            raise refuse(
                f"the synaptic current of {name.removesuffix('.' + SYNAPSE)!r} is read",
                "only spikes and membrane potentials can be; leave it out of the results",
            )
    return kept[::-1]


def recorded(ops: Sequence[Op], wanted: Sequence[Ref]) -> set[str]:
    """Names of neurons whose potentials are read."""
    refs = [*wanted, *(r for op in ops for r in refs_in((op.args, dict(op.kwargs))))]
    suffix = f".{MEMBRANE}"
    return {r.name.removesuffix(suffix) for r in refs if r.name.endswith(suffix)}


def target_of(node: fx.Node) -> Any:
    """The function or layer that a node calls."""
    return Method(str(node.target)) if node.op == "call_method" else node.target


def selection_of(node: fx.Node) -> tuple[fx.Node, int, int] | None:
    """(tensor, axis, index) of ``x[i]``, ``x[:, i]``, ``x.select(a, i)``, ``x.unbind(a)[i]``."""
    if not node.args or not isinstance(node.args[0], fx.Node):
        return None
    source = node.args[0]
    if node.target in ("select", torch.select) and len(node.args) == 3:
        axis, index = node.args[1:]
        rank = source.meta[VALUE].dim()
        return (source, axis % rank, index) if isinstance(index, int) else None
    if node.target is not operator.getitem:
        return None
    index = node.args[1]
    if isinstance(index, int) and source.target in (torch.unbind, "unbind"):
        tensor = source.args[0]
        axis = source.args[1] if len(source.args) > 1 else source.kwargs.get("dim", 0)
        rank = tensor.meta[VALUE].dim()
        return tensor, axis % rank, index
    if isinstance(index, int):
        return source, 0, index
    if isinstance(index, tuple):
        places = [i for i, part in enumerate(index) if isinstance(part, int)]
        rest = [part for part in index if not isinstance(part, int)]
        if len(places) == 1 and all(part == slice(None) for part in rest):
            return source, places[0], index[places[0]]
        if (
            len(places) == 1
            and places[0] == 0
            and all(part is Ellipsis or part == slice(None) for part in rest)
        ):
            return source, 0, index[0]
    return None
