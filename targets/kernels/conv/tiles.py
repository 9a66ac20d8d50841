"""How a row of results is cut into tiles, and which taps of the window have an input for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels.conv.shape import Axis


@dataclass(frozen=True)
class Run:
    """``count`` tiles of ``size`` neighbouring results, the first at ``start``; all alike."""

    start: int
    size: int
    count: int


def cut(axis: Axis, most: int) -> list[Run]:
    """All results of ``axis`` in tiles of nearly equal size, equal neighbours together.

    Tiles that touch a border stand alone.
    """
    count = -(-axis.out // most)
    size = -(-axis.out // count)
    tiles = [(s, min(size, axis.out - s)) for s in range(0, axis.out, size)]

    def kind(tile: tuple[int, int]) -> tuple[int, int]:
        start, length = tile
        inside = all(axis.inside(p) for p in range(start, start + length))
        return (length, -1 if inside else start)

    runs = []
    for (length, _), alike in groupby(tiles, kind):
        members = list(alike)
        runs.append(Run(members[0][0], length, len(members)))
    return runs


def taps_of(axis: Axis, pixels: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Taps, and which of ``pixels`` (by index) has an input for; those without left out."""
    found = [
        (tap, [i for i, p in enumerate(pixels) if axis.valid(p, tap)]) for tap in range(axis.taps)
    ]
    return [(tap, valid) for tap, valid in found if valid]


def tap_bounds(axis: Axis, position: Any) -> tuple[Any, Any]:
    """First and last + 1 of the taps that have an input for result ``position``."""
    first, low, high = axis.source(position, 0), 0, axis.taps
    if axis.before:
        low = T.max(0, -(first // axis.dilation))
    if axis.source(axis.out - 1, axis.taps - 1) >= axis.size:
        high = T.min(high, (axis.size - 1 - first) // axis.dilation + 1)
    return low, high
