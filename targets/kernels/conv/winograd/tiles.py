"""Tiles of m×m results along one axis: which of their n = m + 2 inputs and results exist."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels.conv.shape import Axis


@dataclass(frozen=True)
class Kind:
    """Inputs ``low`` to below ``high`` of a tile lie in the image, and ``results`` are wanted."""

    low: int
    high: int
    results: int

    def sees(self, position: int) -> bool:
        """Whether input ``position`` of the tile lies in the image."""
        return self.low <= position < self.high


@dataclass(frozen=True)
class Alike:
    """Tiles of one kind; the last is in front of number ``end``."""

    end: int
    kind: Kind


def count_tiles(axis: Axis, m: int) -> int:
    """Tiles that cover the results of ``axis``."""
    return -(-axis.out // m)


def kinds_of(axis: Axis, m: int) -> list[Alike]:
    """All tiles of ``axis`` in order, equal neighbours together."""

    def kind(tile: int) -> Kind:
        start = tile * m - axis.before
        low, high = max(0, -start), min(m + 2, axis.size - start)
        return Kind(low, max(low, high), min(m, axis.out - tile * m))

    found, end = [], 0
    for same, tiles in groupby(map(kind, range(count_tiles(axis, m)))):
        end += len(list(tiles))
        found.append(Alike(end, same))
    return found


def by_kind(kinds: Sequence[Alike], tile: Any, body: Callable[[Kind], None]) -> None:
    """``body`` for the kind of tile number ``tile``; each kind is code of its own."""
    first, *others = kinds
    if not others:
        body(first.kind)
        return
    with T.If(tile < first.end):
        with T.Then():
            body(first.kind)
        with T.Else():
            by_kind(others, tile, body)


def by_results(kinds: Sequence[Alike]) -> list[Alike]:
    """``kinds`` told apart by their number of results alone."""
    plain = [Alike(k.end, Kind(0, 0, k.kind.results)) for k in kinds]
    return [
        max(same, key=lambda k: k.end)
        for same in (list(group) for _, group in groupby(plain, key=lambda k: k.kind))
    ]
