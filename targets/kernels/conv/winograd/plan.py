"""How a Winograd convolution is cut: tiles per round, columns per block, what threads share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType
from millijoule.sizes import most
from millijoule.targets.kernels.conv.shape import ConvShape
from millijoule.targets.kernels.conv.winograd.tiles import count_tiles
from millijoule.targets.kernels.form import parallel_chunks
from millijoule.targets.kernels.gemm.tile import row_blocks, tallest
from millijoule.targets.target import Isa

LINE = 16  # floats of a cache line: slabs are one line longer, so that they start in other sets
GROUP_TILES = 24  # so many multiply-adds for every weight that comes from the third-level cache
MOST_CHUNKS = 8


@dataclass(frozen=True)
class Room:
    """What caches hold, in bytes.

    ``weights``: as many stay while every thread computes rounds of its own. ``own``, ``shared``:
    transformed inputs of a round that one thread has for itself, or that all threads work on.
    """

    weights: int
    own: int
    shared: int


# 1 MB for every core, and many more for all
X86 = Room(weights=1 << 20, own=160 << 10, shared=4 << 20)
# 1 MB for four cores (Cortex-A72; A53: half as much), and nothing behind it
ARM = Room(weights=256 << 10, own=96 << 10, shared=512 << 10)


@dataclass(frozen=True)
class Plan:
    """Rounds of ``tiles`` m×m tiles against ``blocks`` of ``width`` output channels.

    ``shared``: the weights are too many for the cache of a core. All threads then work on one round
    and share its blocks, for each of ``groups`` of tiles, so that weights come from memory once;
    else each has rounds of its own. ``segments``: tiles of a round as rows of tiles of registers.
    """

    m: int
    tiles: int
    segments: Sequence[tuple[int, int]]
    groups: int
    width: int
    blocks: int
    shared: bool
    chunks: int

    def passes(self, tiles: int) -> int:
        """How many times weights come from memory for ``tiles`` tiles."""
        return -(-tiles // self.tiles) if self.shared else 1

    @property
    def positions(self) -> int:
        """Products of a tile per pair of channels."""
        return (self.m + 2) ** 2

    def first_tile(self, group: Any) -> Any:
        """The first tile of a group, in its round."""
        (tall, rows), *short = self.segments
        number = (tall + sum(count for count, _ in short)) * group // self.groups
        if not short:
            return number * rows
        least = T.min if not isinstance(group, int) else min
        return number * short[0][1] + least(number, tall) * (rows - short[0][1])

    def inputs(self, channels: int) -> TensorType:
        """Transformed inputs: [chunks that have their own, n², tiles × channels]."""
        slab = self.tiles * channels + LINE
        return TensorType((1 if self.shared else self.chunks, self.positions, slab), "float32")

    @property
    def products(self) -> TensorType:
        """Products of a group and a block: [chunks, n², tiles × width]."""
        ends = [self.first_tile(group) for group in range(self.groups + 1)]
        largest = max(end - start for start, end in pairwise(ends))
        return TensorType((self.chunks, self.positions, largest * self.width + LINE), "float32")


def tiles_of_image(shape: ConvShape, m: int) -> int:
    """Tiles that cover the results of one image."""
    return count_tiles(shape.rows, m) * count_tiles(shape.columns, m)


def block_width(shape: ConvShape, isa: Isa) -> int:
    """Columns of a block: two vectors, for as many rows then fit in the registers.

    Narrow vectors are four, or inputs would be read from the second-level cache too often.
    """
    vectors = 4 if isa.name == "neon" else 2
    return min(vectors, -(-shape.outputs // isa.lanes)) * isa.lanes


def plan_winograd(shape: ConvShape, m: int, isa: Isa) -> Plan:
    """The plan for tiles of ``m`` × ``m`` results."""
    width = block_width(shape, isa)
    blocks = -(-shape.outputs // width)
    n2, rows = (m + 2) ** 2, tallest(width // isa.lanes, isa)
    room = ARM if isa.name == "neon" else X86
    shared = 4 * n2 * shape.channels * blocks * width > room.weights
    total = most(shape.batch * tiles_of_image(shape, m))
    largest = (room.shared if shared else room.own) // (4 * n2 * shape.channels)
    tiles = _even(total, max(largest, rows))
    segments = row_blocks(tiles, rows)
    groups = min(max(1, tiles // GROUP_TILES), -(-tiles // rows)) if shared else 1
    work = groups * blocks if shared else -(-total // tiles)
    chunks = min(MOST_CHUNKS, parallel_chunks(work, shape.multiply_adds))
    return Plan(m, tiles, segments, groups, width, blocks, shared, chunks)


def _even(total: int, largest: int) -> int:
    """Tiles of a round, so that the last one lacks few."""
    if total <= largest:
        return total
    return min(range(-(-largest // 2), largest + 1), key=lambda t: (-(-total // t) * t, -t))
