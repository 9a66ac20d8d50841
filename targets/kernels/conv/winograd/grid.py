"""All tiles of a convolution, numbered image by image, row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels.conv.shape import ConvShape
from millijoule.targets.kernels.conv.winograd.tiles import (
    Alike,
    Kind,
    by_kind,
    by_results,
    count_tiles,
    kinds_of,
)


class TileGrid:
    """Tiles of ``m`` × ``m`` results; ``total`` is an expression if the batch varies."""

    def __init__(self, shape: ConvShape, m: int) -> None:
        self.shape, self.m = shape, m
        self._down, self._across = count_tiles(shape.rows, m), count_tiles(shape.columns, m)
        total = shape.batch * self._down * self._across
        self.total: Any = total if isinstance(total, int) else T.int64(0) + total
        self._kinds = kinds_of(shape.rows, m), kinds_of(shape.columns, m)

    def place(self, number: Any) -> tuple[Any, Any, Any]:
        """Image, row and column of a tile."""
        across, down = self._across, self._down
        return number // (across * down), number // across % down, number % across

    def by_inputs(self, row: Any, column: Any, body: Callable[[Kind, Kind], None]) -> None:
        """``body(rows, columns)`` for the kinds of a tile, told apart by the inputs they have."""
        _both(*self._kinds, row, column, body)

    def by_results(self, row: Any, column: Any, body: Callable[[Kind, Kind], None]) -> None:
        """``body(rows, columns)`` for the kinds of a tile, told apart by their results alone."""
        rows, columns = map(by_results, self._kinds)
        _both(rows, columns, row, column, body)


def _both(
    rows: list[Alike],
    columns: list[Alike],
    row: Any,
    column: Any,
    body: Callable[[Kind, Kind], None],
) -> None:
    by_kind(rows, row, lambda v: by_kind(columns, column, lambda h: body(v, h)))
