"""Winograd's convolution: 3×3, stride 1, channels last, float32, with its elementwise epilogue.

    y[tile] = epilogue( Aᵀ [ Σ_c (Bᵀ x[tile, c] B) ∘ (G w[c] Gᵀ) ] A )        (see `points`)

Tiles of m×m results need n² = (m + 2)² products per pair of channels in place of 9·m². A round of
tiles is transformed into n² matrices [tiles, channels]; each is multiplied by its matrix of weights
(the packed GEMM's innermost loop), a block of output channels at a time; the block is transformed
back and finished. What lies in between stays in the second-level cache.

Weights are transformed at build time: [blocks, n², C, NR], one stream. Few of them stay in the
cache while every thread computes rounds of its own. Many come from memory once per round, the next
matrix being asked for while one is multiplied: then all threads share the round and take blocks.

Floor: n²·tiles·C·O multiply-adds over the FMA peak, or the transformed weights over the bandwidth
of main memory, whichever is more; `rule` weighs both, and the transforms, against direct form.

Every result is computed by the same operations in the same order, whatever the number of threads or
images. Infinity or NaN in a tile spreads to its neighbours of the same tile.
"""

from __future__ import annotations

from collections.abc import Sequence

from millijoule.converters.ops import TensorType, tir
from millijoule.targets.kernels.conv.flat import Flat, PixelWriter
from millijoule.targets.kernels.conv.shape import ConvShape
from millijoule.targets.kernels.conv.winograd.grid import TileGrid
from millijoule.targets.kernels.conv.winograd.inputs import Inputs
from millijoule.targets.kernels.conv.winograd.loops import Loops
from millijoule.targets.kernels.conv.winograd.plan import Plan, plan_winograd
from millijoule.targets.kernels.conv.winograd.points import pack_filters
from millijoule.targets.kernels.conv.winograd.products import Products
from millijoule.targets.kernels.conv.winograd.results import Results
from millijoule.targets.kernels.epilogue import Step
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.target import Isa

__all__ = ["Plan", "pack_filters", "plan_winograd", "winograd_f32"]


def winograd_f32(
    shape: ConvShape,
    x_type: TensorType,
    weights_type: TensorType,
    operands: Sequence[TensorType],
    result: TensorType,
    steps: Sequence[Step],
    isa: Isa,
    *,
    plan: Plan,
) -> KernelForm:
    """Kernel over (x [B, H, W, C], packed weights, epilogue operands…) → y [B, OH, OW, O]."""
    scratch = (plan.inputs(shape.channels), plan.products)
    name = f"conv2d_f32_winograd{plan.m}_{isa.name}"
    with tir.kernel(name, [x_type, weights_type, *operands], [result, *scratch]) as k:
        x, weights, *extra, y, transformed, products = k.buffers
        grid = TileGrid(shape, plan.m)
        writer = PixelWriter(y, extra, steps, shape.outputs)
        Loops(
            grid,
            plan,
            Inputs(grid, plan, isa, Flat(x), transformed),
            Products(shape.channels, plan, isa, transformed, weights, products),
            Results(grid, plan, isa, products, writer),
        ).emit()
    return KernelForm(k.func, scratch)
