"""Shapes of attention, and operands read through strides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from millijoule.sizes import most
from millijoule.targets.kernels.gemm.tile import tallest
from millijoule.targets.target import Isa


@dataclass(frozen=True)
class Strided:
    """A tensor [batch…, row, column] inside a flat buffer; strides count elements, 0 repeats.

    ``operand``: which of the kernel's operands the buffer is.
    """

    operand: int
    offset: int
    strides: tuple[int, ...]

    def start(self, batch: tuple[Any, ...], row: Any) -> Any:
        """Index of the first column of a row."""
        index = self.offset + row * self.strides[-2]
        for position, stride in zip(batch, self.strides, strict=False):
            if stride:
                index = index + position * stride
        return index


@dataclass(frozen=True)
class AttentionShape:
    """softmax(q·kᵀ·scale + bias)·v for every index of ``batch`` (heads are the last of them).

    q [queries, width], k [keys, width], v [keys, value_width]. ``causal``: query i sees the keys
    0 … i.
    """

    batch: tuple[int, ...]
    queries: int
    keys: int
    width: int
    value_width: int
    scale: float
    causal: bool = False

    @property
    def heads(self) -> int:
        """Independent problems: the product of the batch dimensions."""
        return math.prod(self.batch)

    @property
    def multiply_adds(self) -> int:
        """Of both products, all keys counted for every query; a `Size` if one varies."""
        return self.heads * self.queries * self.keys * (self.width + self.value_width)

    def unravel(self, head: Any) -> tuple[Any, ...]:
        """Batch indices of problem number ``head``."""
        index: list[Any] = []
        for extent in reversed(self.batch[1:]):
            index.insert(0, head % extent)
            head = head // extent
        return (head, *index) if self.batch else ()


@dataclass(frozen=True)
class AttentionTile:
    """``rows`` queries at a time, keys in panels of ``panel``, of type ``dtype``; ``depth`` as that
    of a GEMM tile."""

    rows: int
    panel: int
    lanes: int
    depth: int
    dtype: str = "float32"

    @property
    def vectors(self) -> int:
        """Vectors of a panel."""
        return self.panel // self.lanes


def choose_attention_tile(shape: AttentionShape, isa: Isa) -> AttentionTile:
    """Tile that fills the registers."""
    wide = isa.registers >= 32 and isa.lanes > 1 and isa.product == "float32"
    vectors = 4 if wide else 2
    depth = isa.lanes if isa.name == "neon" and isa.registers >= 32 else 1
    rows = min(tallest(vectors, isa), most(shape.queries))
    return AttentionTile(rows, vectors * isa.lanes, isa.lanes, depth, isa.product)
