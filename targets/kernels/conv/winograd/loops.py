"""The loops around a Winograd convolution: rounds of tiles, groups, blocks of output channels."""

from __future__ import annotations

from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.conv.winograd.grid import TileGrid
from millijoule.targets.kernels.conv.winograd.inputs import Inputs
from millijoule.targets.kernels.conv.winograd.plan import Plan
from millijoule.targets.kernels.conv.winograd.products import Products
from millijoule.targets.kernels.conv.winograd.results import Results


class Loops:
    """Runs ``inputs``, ``products`` and ``results`` over all tiles and blocks."""

    def __init__(
        self, grid: TileGrid, plan: Plan, inputs: Inputs, products: Products, results: Results
    ) -> None:
        self._plan, self._total = plan, grid.total
        self._inputs, self._products, self._results = inputs, products, results
        self._last = grid.shape.outputs - (plan.blocks - 1) * plan.width

    def emit(self) -> None:
        """All loops: threads share each round, or have rounds of their own."""
        plan, chunks = self._plan, self._plan.chunks
        rounds, work = simd.ceil_div(self._total, plan.tiles), plan.groups * plan.blocks
        loop = T.parallel if chunks > 1 else T.serial
        if plan.shared:
            with T.serial(0, rounds) as r:
                with loop(0, plan.tiles) as t:
                    self._inputs.transform(0, r, t)
                with (
                    loop(0, chunks) as chunk,
                    tir.between(*simd.part_of(work, chunk, chunks)) as item,
                ):
                    self._block(chunk, 0, r, item // plan.blocks, item % plan.blocks)
            return
        with loop(0, chunks) as chunk, tir.between(*simd.part_of(rounds, chunk, chunks)) as r:
            with T.serial(0, plan.tiles) as t:
                self._inputs.transform(chunk, r, t)
            with T.serial(0, plan.blocks) as block:
                self._block(chunk, chunk, r, 0, block)

    def _block(self, chunk: Any, source: Any, r: Any, group: Any, block: Any) -> None:
        """Results of a group of tiles of round ``r`` in one block, the last of which is short."""
        plan = self._plan
        if self._last == plan.width or plan.blocks == 1:
            self._of_width(chunk, source, r, group, block, self._last)
            return
        with T.If(block < plan.blocks - 1):
            with T.Then():
                self._of_width(chunk, source, r, group, block, plan.width)
            with T.Else():
                self._of_width(chunk, source, r, group, block, self._last)

    def _of_width(
        self, chunk: Any, source: Any, r: Any, group: Any, block: Any, width: int
    ) -> None:
        plan = self._plan
        first, end = plan.first_tile(group), plan.first_tile(group + 1)
        with T.serial(0, plan.positions) as position:
            self._products.multiply(chunk, source, group, block, position, width)
        with tir.between(first, T.min(end, self._total - r * plan.tiles)) as t:
            self._results.write(chunk, r * plan.tiles + t, t - first, block, width)
