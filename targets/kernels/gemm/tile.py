"""The shape of a packed GEMM, the tile that fits a vector unit, and the weights packed for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from millijoule.targets.target import Isa


@dataclass(frozen=True)
class Tile:
    """MR rows × NR columns of results in registers; ``depth`` channels of x are loaded at once."""

    rows: int
    columns: int
    depth: int = 1


@dataclass(frozen=True)
class GemmShape:
    """``steps`` counts input steps; a matrix product has batch 1, one tap, no padding."""

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
    def multiply_adds(self) -> int:
        """Multiply-adds, padding counted as computed."""
        return self.batch * self.out_steps * self.taps * self.channels * self.outputs


def choose_tile(shape: GemmShape, isa: Isa) -> Tile:
    """Tile for ``shape``: fill the registers; one row takes as many columns as hide FMA latency.

    NR·MR/lanes accumulators + NR/lanes weights + 1 broadcast fit in the register file.
    """
    neon = isa.name == "neon"
    depth = 4 if neon and isa.registers >= 32 else 1
    if shape.out_steps < 4:
        wide = isa.registers // 2
        return Tile(shape.out_steps, isa.lanes * max(1, wide // shape.out_steps), depth)
    vectors = 4 if isa.registers >= 32 else 2
    if neon:
        # The tallest tile loads least, even with a shorter one after it. A 32-bit core has no
        # registers for the addresses of a sixth row.
        most = 6 if isa.registers >= 32 else 5
        return Tile(min(most, shape.out_steps), vectors * isa.lanes, depth)
    most = min(6, (isa.registers - 1) // vectors - 1)
    rows = next((r for r in range(most, 3, -1) if shape.out_steps % r == 0), most)
    return Tile(rows, vectors * isa.lanes)


def pack_weights(w: np.ndarray, tile: Tile) -> np.ndarray:
    """[K, N] → [⌈N/NR⌉, K, NR], zero-padded; NR shrinks to N for narrow layers."""
    depth, outputs = w.shape
    width = min(tile.columns, outputs)
    blocks = -(-outputs // width)
    padded = np.zeros((depth, blocks * width), w.dtype)
    padded[:, :outputs] = w
    return np.ascontiguousarray(padded.reshape(depth, blocks, width).transpose(1, 0, 2))
