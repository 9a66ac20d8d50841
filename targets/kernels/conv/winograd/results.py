"""Aᵀ p A of the products of every tile, finished and stored."""

from __future__ import annotations

from typing import Any

from millijoule.targets.kernels import simd
from millijoule.targets.kernels.conv.flat import PixelWriter
from millijoule.targets.kernels.conv.winograd.grid import TileGrid
from millijoule.targets.kernels.conv.winograd.plan import Plan
from millijoule.targets.kernels.conv.winograd.tiles import Kind
from millijoule.targets.kernels.conv.winograd.transform import RESULTS, Sums, both_ways
from millijoule.targets.target import Isa


class Results:
    """Transforms ``products`` [chunks, n², tiles × width] back and hands them to ``writer``."""

    def __init__(
        self, grid: TileGrid, plan: Plan, isa: Isa, products: Any, writer: PixelWriter
    ) -> None:
        self._grid, self._plan, self._isa = grid, plan, isa
        self._products, self._writer = products, writer

    def write(self, chunk: Any, number: Any, t: Any, block: Any, width: int) -> None:
        """Tile ``number`` of all, ``t`` of its group, in one block of output channels."""
        shape, plan, m = self._grid.shape, self._plan, self._plan.m
        b, i, j = self._grid.place(number)
        first = (b * shape.rows.out + i * m) * shape.columns.out + j * m

        def of_kinds(rows: Kind, columns: Kind) -> None:
            def channels(c: Any, lanes: int) -> None:
                sums, n = Sums(lanes, self._isa), m + 2

                def load(h: int, v: int) -> Any:
                    at = t * plan.width + c
                    return simd.load(self._products, [chunk, h * n + v], at, lanes)

                tile = [[sums.keep(load(h, v)) for v in range(n)] for h in range(n)]
                values = both_ways(RESULTS[m], sums, tile)
                for h in range(rows.results):
                    for v in range(columns.results):
                        pixel = first + h * shape.columns.out + v
                        self._writer.write(pixel, block * plan.width + c, lanes, values[h][v])

            simd.for_blocks(width, self._isa.lanes, channels)

        self._grid.by_results(i, j, of_kinds)
