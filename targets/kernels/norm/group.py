"""Group norm of [B, C, …], with its elementwise epilogue.

    y = epilogue( (x − mean) / √(var + ε) · γ[c] + β[c] ),   moments over a group of channels

The values of a group lie side by side: its moments are those of a row (`moments`). Threads share
groups for the moments, and channels for the results, because there may be one group alone. Floor:
every byte read once and written once; a group too large for the first-level cache is read thrice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.conv.flat import Flat, PixelWriter
from millijoule.targets.kernels.epilogue import Step
from millijoule.targets.kernels.form import KernelForm, parallel_chunks
from millijoule.targets.kernels.norm.moments import OPERATIONS, factor_of, mean_of
from millijoule.targets.target import Isa

__all__ = ["GroupNorm", "group_norm_f32"]


@dataclass(frozen=True)
class GroupNorm:
    """``channels`` of ``inside`` values for each of ``batch``, in ``groups`` of channels."""

    batch: int
    channels: int
    inside: int
    groups: int
    epsilon: float

    @property
    def rows(self) -> int:
        """Groups of the batch."""
        return self.batch * self.groups

    @property
    def width(self) -> int:
        """Values of a group."""
        return self.channels // self.groups * self.inside


def group_norm_f32(
    norm: GroupNorm,
    operands: Sequence[TensorType],
    extra: Sequence[TensorType],
    result: TensorType,
    steps: Sequence[Step],
    isa: Isa,
) -> KernelForm:
    """Kernel over (x, γ, β, epilogue operands…) → y; scratch: mean and factor of every group."""
    moments = TensorType((norm.rows, 2), "float32")
    work = OPERATIONS * norm.rows * norm.width
    with tir.kernel(f"group_norm_f32_{isa.name}", [*operands, *extra], [result, moments]) as k:
        *sources, y, kept = k.buffers
        x, gamma, beta = (Flat(b) for b in sources[:3])
        writer = PixelWriter(y, sources[3:], steps, norm.inside)
        with _loop(norm.rows, work) as row:
            _moments(norm, x, kept, row, isa)
        with _loop(norm.batch * norm.channels, work) as channel:
            row, c = channel // (norm.channels // norm.groups), channel % norm.channels

            def finish(at: Any, lanes: int) -> None:
                mean, factor = (simd.splat(kept[row, i], lanes) for i in (0, 1))
                value = (x.load(channel * norm.inside + at, lanes) - mean) * factor
                weight, bias = (simd.splat(v.load(c, 1), lanes) for v in (gamma, beta))
                writer.write(channel, at, lanes, value * weight + bias)

            simd.for_blocks(norm.inside, isa.lanes, finish)
    return KernelForm(k.func, (moments,))


def _loop(extent: int, work: int) -> Any:
    return (T.parallel if parallel_chunks(extent, work) > 1 else T.serial)(0, extent)


def _moments(norm: GroupNorm, x: Flat, kept: Any, row: Any, isa: Isa) -> None:
    """Mean of group ``row``, and what its values are multiplied by."""

    def element(at: Any, lanes: int) -> Any:
        return x.load(row * norm.width + at, lanes)

    mean = mean_of(norm.width, element, isa)
    factor = factor_of(
        norm.width,
        lambda at, lanes: element(at, lanes) - simd.splat(mean[0], lanes),
        norm.epsilon,
        isa,
    )
    tir.store(kept, [row, 0], mean[0])
    tir.store(kept, [row, 1], factor[0])
