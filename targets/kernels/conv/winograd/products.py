"""The n² products [tiles, channels] × [channels, width] of a group of tiles and a block."""

from __future__ import annotations

from typing import Any

from millijoule.targets.kernels import simd
from millijoule.targets.kernels.conv.winograd.plan import LINE, Plan
from millijoule.targets.kernels.gemm.chains import accumulate
from millijoule.targets.kernels.gemm.grid import for_tiles
from millijoule.targets.kernels.gemm.tile import depth_of, padded
from millijoule.targets.target import Isa


class Products:
    """Multiplies ``inputs`` by ``weights`` [blocks, n², C, NR] into the slabs of ``products``."""

    def __init__(
        self, channels: int, plan: Plan, isa: Isa, inputs: Any, weights: Any, products: Any
    ) -> None:
        self._channels, self._plan, self._isa = channels, plan, isa
        self._inputs, self._weights, self._products = inputs, weights, products

    def multiply(
        self, chunk: Any, source: Any, group: Any, block: Any, position: Any, width: int
    ) -> None:
        """Matrix ``position`` of a group of tiles, of the inputs of chunk ``source``."""
        channels, plan, lanes = self._channels, self._plan, self._isa.lanes
        depth = depth_of(self._isa)
        first = plan.first_tile(group)

        def tile_of(start: Any, rows: int) -> None:
            acc = simd.Accumulators(rows, padded(width, lanes), lanes)
            acc.fill(lambda _, vec: simd.zeros(vec[1]))

            def load_x(row: int, c: Any, n: int) -> Any:
                return simd.load(self._inputs, [source, position], (start + row) * channels + c, n)

            def load_w(c: Any, offset: int, n: int) -> Any:
                return simd.load(self._weights, [block, position, c], offset, n)

            def fetch(c: Any) -> None:  # called once for ``depth`` channels
                tile = (start - first) // rows
                element = (tile * channels + c) // depth * LINE  # of the next matrix
                simd.prefetch(self._weights, [block, position + 1, 0, element])

            before = fetch if plan.shared else None
            accumulate(acc, channels, depth, load_x, load_w, self._isa, before)
            for row in range(rows):
                for vec in acc.vectors:
                    at = (start - first + row) * plan.width + vec[0]
                    simd.save(self._products, [chunk, position], at, vec[1], acc.get(row, vec))

        for_tiles(plan.segments, group, plan.groups, tile_of)
