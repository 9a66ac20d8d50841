"""Bᵀ x B of every tile, into matrices [n², tiles × channels]."""

from __future__ import annotations

from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd
from millijoule.targets.kernels.conv.flat import Flat
from millijoule.targets.kernels.conv.winograd.grid import TileGrid
from millijoule.targets.kernels.conv.winograd.plan import Plan
from millijoule.targets.kernels.conv.winograd.tiles import Kind
from millijoule.targets.kernels.conv.winograd.transform import INPUTS, Sums, both_ways
from millijoule.targets.target import Isa


class Inputs:
    """Transforms tiles of ``x`` into ``inputs`` [chunks, n², tiles × channels]."""

    def __init__(self, grid: TileGrid, plan: Plan, isa: Isa, x: Flat, inputs: Any) -> None:
        self._grid, self._plan, self._isa = grid, plan, isa
        self._x, self._inputs = x, inputs
        self._channels = grid.shape.channels

    def transform(self, chunk: Any, r: Any, t: Any) -> None:
        """Tile ``t`` of round ``r``, for ``chunk``; behind the last tile are zeros."""
        total, tiles = self._grid.total, self._plan.tiles
        number = r * tiles + t
        if isinstance(total, int) and total % tiles == 0:
            self._tile(chunk, number, t)
            return
        with T.If(number < total):
            with T.Then():
                self._tile(chunk, number, t)
            with T.Else(), T.serial(0, self._plan.positions) as position:
                simd.for_blocks(
                    self._channels,
                    self._isa.lanes,
                    lambda c, n: self._save(chunk, position, t, c, n, simd.zeros(n)),
                )

    def _tile(self, chunk: Any, number: Any, t: Any) -> None:
        shape, m = self._grid.shape, self._plan.m
        b, i, j = self._grid.place(number)
        row, column = i * m - shape.rows.before, j * m - shape.columns.before
        first = (b * shape.rows.size + row) * shape.columns.size + column

        def load(h: int, v: int, c: Any, lanes: int) -> Any:
            pixel = first + h * shape.columns.size + v
            return self._x.load(pixel * self._channels + c, lanes)

        def of_kinds(rows: Kind, columns: Kind) -> None:
            def channels(c: Any, lanes: int) -> None:
                sums = Sums(lanes, self._isa)
                tile = [
                    [
                        sums.keep(load(h, v, c, lanes))
                        if rows.sees(h) and columns.sees(v)
                        else None
                        for v in range(m + 2)
                    ]
                    for h in range(m + 2)
                ]
                values = both_ways(INPUTS[m], sums, tile)
                for position, value in enumerate(v for line in values for v in line):
                    stored = simd.zeros(lanes) if value is None else value
                    self._save(chunk, position, t, c, lanes, stored)

            simd.for_blocks(self._channels, self._isa.lanes, channels)

        self._grid.by_inputs(i, j, of_kinds)

    def _save(self, chunk: Any, position: Any, t: Any, c: Any, lanes: int, value: Any) -> None:
        simd.save(self._inputs, [chunk, position], t * self._channels + c, lanes, value)
