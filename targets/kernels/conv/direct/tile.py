"""The tile of a direct convolution that fits a vector unit, and the weights packed for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from millijoule.targets.kernels.conv.shape import ConvShape
from millijoule.targets.kernels.gemm.gpu import PANEL
from millijoule.targets.kernels.gemm.tile import TALLEST
from millijoule.targets.target import Isa


@dataclass(frozen=True)
class ConvTile:
    """``pixels`` × ``channels`` results in registers; ``depth`` inputs are loaded at once."""

    pixels: int
    channels: int
    depth: int = 1


def choose_tile(shape: ConvShape, isa: Isa) -> ConvTile:
    """The tile that fills the registers: accumulators, one row of weights, one value of x.

    Two vectors of channels by as many pixels as fit: with few channels per group, one.
    """
    if isa.gpu:
        return ConvTile(PANEL, PANEL)
    lane_operands = isa.name == "neon" and isa.registers >= 32
    depth = isa.lanes if lane_operands else 1
    most = 4 if lane_operands else 2 if isa.registers >= 16 else 1
    wanted = -(-shape.group_outputs // isa.lanes)
    vectors = most if wanted % most == 0 or wanted > most + 1 else min(wanted, most + 1)
    spare = isa.registers - 2 - vectors if lane_operands else isa.registers - 1 - vectors
    pixels = spare // (vectors + (1 if lane_operands else 0))
    # where every value of x is loaded for one multiply-add, each load of weights saved counts
    tallest = TALLEST if vectors > 1 else 2 * TALLEST
    return ConvTile(max(1, min(pixels, tallest)), vectors * isa.lanes, depth)


def pack_filters(w: np.ndarray, shape: ConvShape, tile: ConvTile) -> np.ndarray:
    """[O, I/groups, KH, KW] → [groups·blocks, KH·KW·I/groups, NR], zero-padded.

    NR shrinks to the outputs of a group where they are few.
    """
    outputs, width = shape.group_outputs, packed_width(shape, tile)
    blocks = -(-outputs // width)
    deep = w.transpose(0, 2, 3, 1).reshape(shape.groups, outputs, shape.depth)
    padded = np.zeros((shape.groups, blocks * width, shape.depth), w.dtype)
    padded[:, :outputs] = deep
    cut = padded.reshape(shape.groups * blocks, width, shape.depth)
    return np.ascontiguousarray(cut.transpose(0, 2, 1))


def packed_width(shape: ConvShape, tile: ConvTile) -> int:
    """Columns of one packed block."""
    return min(tile.channels, shape.group_outputs)
