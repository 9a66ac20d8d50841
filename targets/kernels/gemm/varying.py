"""Row tiles of a number of rows that is known only when the program runs.

Tiles are as even as those of a fixed number (`tile.row_blocks`): some of one height, the rest one
row lower. A tile's height is a matter of unrolled code, so there is code for every height, chosen
once for all tiles that have it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir


class VaryingRows:
    """``total`` rows (an expression) in tiles of at most ``most`` rows."""

    def __init__(self, total: Any, most: int) -> None:
        self.total, self.most = T.int64(0) + total, most

    @property
    def tiles(self) -> Any:
        """How many tiles there are."""
        return (self.total + (self.most - 1)) // self.most

    def between(self, low: Any, high: Any, body: Callable[[Any, int], None]) -> None:
        """``body(first row, rows)`` for the tiles with numbers from ``low`` to below ``high``."""
        short = self.total // self.tiles
        taller = self.total - short * self.tiles
        with T.serial(0, 2) as part:  # the tall ones, then the short ones
            height = short + 1 - part
            first = T.max(low, part * taller)
            last = T.min(high, taller + part * (self.tiles - taller))

            def tile(rows: int) -> None:
                with tir.between(first, last) as number:
                    body(number * rows + part * taller, rows)

            self._for_height(height, tile)

    def one(self, number: Any, body: Callable[[Any, int], None]) -> None:
        """``body(first row, rows)`` for one tile."""
        short = self.total // self.tiles
        taller = self.total - short * self.tiles
        height = short + T.cast(number < taller, "int64")
        first = number * short + T.min(number, taller)
        self._for_height(height, lambda rows: body(first, rows))

    def _for_height(self, height: Any, body: Callable[[int], None]) -> None:
        for rows in range(1, self.most + 1):
            with T.If(height == rows), T.Then():
                body(rows)
