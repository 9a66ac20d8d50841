"""The shape of a packed GEMM, the tile that fits a vector unit, and the weights packed for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from millijoule.sizes import most
from millijoule.targets.kernels.gemm.gpu import PANEL
from millijoule.targets.target import Isa

CACHE_BYTES = 512 * 1024  # second-level cache of one core, as common now
_HALF_SPARE = 4  # a lane of halves can only be taken from the lower sixteen registers
TALLEST = 14  # rows: more accumulators than that hide no more latency


@dataclass(frozen=True)
class Tile:
    """MR rows × NR columns of results in registers; ``depth`` channels of x are loaded at once."""

    rows: int
    columns: int
    depth: int = 1


@dataclass(frozen=True)
class GemmShape:
    """``steps`` counts input steps; a matrix product has batch 1, one tap, no padding.

    The number of rows may vary (`millijoule.sizes.Size`).
    """

    batch: int
    steps: int
    channels: int
    outputs: int
    taps: int = 1
    padding: int = 0

    @property
    def out_steps(self) -> int:
        """Rows of the result per batch element."""
        return self.steps + 2 * self.padding - self.taps + 1

    @property
    def most_steps(self) -> int:
        """Rows of the result per batch element, at most."""
        return most(self.out_steps)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds, padding counted as computed; a `Size` if rows vary."""
        return self.batch * self.out_steps * self.taps * self.channels * self.outputs


def choose_tile(shape: GemmShape, isa: Isa) -> Tile:
    """Tile for ``shape``: fill the registers; one row takes as many columns as hide FMA latency.

    NR·MR/lanes accumulators + NR/lanes weights + 1 broadcast fit in the register file. Rows that
    fit in one taller, narrower tile take it: the weights are then read once.
    """
    if isa.gpu:
        return Tile(min(shape.out_steps, PANEL), PANEL)
    depth = depth_of(isa)
    steps = shape.most_steps
    if steps < 4:
        wide = isa.registers // 2
        columns = isa.lanes * max(1, wide // steps)
        return Tile(steps, min(columns, padded(shape.outputs, isa.lanes)), depth)
    vectors = 4 if isa.registers >= 32 and isa.product == "float32" else 2
    rows = tallest(vectors, isa)
    panel = 4 * shape.taps * shape.channels * vectors * isa.lanes
    if isa.name in ("avx512", "avx2") and vectors > 2 and panel > CACHE_BYTES:
        vectors = 2  # a panel that stays in the cache while the next one comes
        rows = tallest(vectors, isa)
    elif isa.name != "neon" and rows < steps:
        narrower = [v for v in range(vectors - 1, 1, -1) if tallest(v, isa) >= steps]
        vectors = narrower[0] if narrower else vectors
        rows = tallest(vectors, isa)
    columns = min(vectors * isa.lanes, padded(shape.outputs, isa.lanes))
    return Tile(min(rows, steps), columns, depth)


def depth_of(isa: Isa) -> int:
    """Neighbouring values of x that are loaded at once, and used lane by lane."""
    return isa.lanes if isa.name == "neon" and isa.registers >= 32 else 1


def tallest(vectors: int, isa: Isa) -> int:
    """Most rows of a tile of ``vectors`` vectors that its registers hold."""
    if depth_of(isa) > 1:  # every row has a register of x, and two hold weights
        spare = isa.registers - (2 if isa.product == "float32" else _HALF_SPARE)
        return min(TALLEST, spare // (vectors + 1))
    if isa.name == "neon":  # a 32-bit core has no registers for the addresses of a sixth row
        return min(5, (isa.registers - 1) // vectors - 1)
    return min(TALLEST, (isa.registers - 1 - vectors) // vectors)


def padded(width: int, lanes: int) -> int:
    """Columns computed for ``width``: whole vectors, and a last one of a power of two lanes."""
    rest = width % lanes
    return width - rest + (1 << (rest - 1).bit_length() if rest else 0)


def row_blocks(total: int, most: int) -> Sequence[tuple[int, int]]:
    """(how many tiles, rows of each) that cover ``total`` rows evenly, the tall ones first.

    Even tiles leave none too short to hide latency: 193 rows by 6 are 28 of 6 and 5 of 5.
    """
    tiles = -(-total // most)
    rows, taller = divmod(total, tiles)
    return [(n, r) for n, r in ((taller, rows + 1), (tiles - taller, rows)) if n]


def pack_weights(w: np.ndarray, tile: Tile) -> np.ndarray:
    """[K, N] → [⌈N/NR⌉, K, NR], zero-padded."""
    depth, outputs = w.shape
    width = tile.columns
    blocks = -(-outputs // width)
    padded_w = np.zeros((depth, blocks * width), w.dtype)
    padded_w[:, :outputs] = w
    return np.ascontiguousarray(padded_w.reshape(depth, blocks, width).transpose(1, 0, 2))
