"""The shape of a two-dimensional convolution or pooling window, channels last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Axis:
    """One spatial axis: ``size`` inputs, ``taps`` of a window, and how the window moves."""

    size: int
    taps: int = 1
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0

    @property
    def out(self) -> int:
        """Number of results."""
        reach = self.dilation * (self.taps - 1) + 1
        return (self.size + self.before + self.after - reach) // self.stride + 1

    def source(self, position: Any, tap: Any) -> Any:
        """Input that result ``position`` reads through ``tap``; may lie outside."""
        return position * self.stride + tap * self.dilation - self.before

    def valid(self, position: int, tap: int) -> bool:
        """Whether that input exists; borders are zeros, which nobody needs to multiply."""
        return 0 <= self.source(position, tap) < self.size

    def inside(self, position: int) -> bool:
        """Whether result ``position`` touches no border."""
        return self.valid(position, 0) and self.valid(position, self.taps - 1)

    @property
    def plain(self) -> bool:
        """Whether result i reads input i and nothing else."""
        return (self.taps, self.stride, self.before, self.after) == (1, 1, 0, 0)


@dataclass(frozen=True)
class ConvShape:
    """``channels`` and ``outputs`` are those of all ``groups`` together."""

    batch: int
    rows: Axis
    columns: Axis
    channels: int
    outputs: int
    groups: int = 1

    @property
    def group_channels(self) -> int:
        """Input channels of one group."""
        return self.channels // self.groups

    @property
    def group_outputs(self) -> int:
        """Output channels of one group."""
        return self.outputs // self.groups

    @property
    def depth(self) -> int:
        """Products in one result."""
        return self.rows.taps * self.columns.taps * self.group_channels

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds, padding counted as computed; a `Size` if the batch varies."""
        return self.pixels * self.outputs * self.depth

    @property
    def pixels(self) -> int:
        """Results per channel; a `Size` if the batch varies."""
        return self.batch * self.rows.out * self.columns.out

    @property
    def pointwise(self) -> bool:
        """Whether every result reads the pixel in its own place, and nothing else."""
        return self.rows.plain and self.columns.plain

    def as_rows(self, pixels: int, length: int) -> ConvShape:
        """A pointwise convolution of ``pixels`` cut into rows of ``length``."""
        return replace(self, batch=1, rows=Axis(pixels // length), columns=Axis(length))


def conv_shape(
    x: Sequence[int],
    w: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> ConvShape:
    """Of x [B, H, W, C] with w [O, C/groups, KH, KW]; padding is top, left, bottom, right."""
    batch, height, width, channels = x
    outputs, _, taps_h, taps_w = w
    top, left, bottom, right = padding
    return ConvShape(
        batch,
        Axis(height, taps_h, strides[0], dilation[0], top, bottom),
        Axis(width, taps_w, strides[1], dilation[1], left, right),
        channels,
        outputs,
        groups,
    )
