"""Which convolutions take Winograd's form, by the shape of one image: bits must not tell batches.

Work is counted in multiply-add instructions: products of all tiles, waste at the border included;
transforms; and what it takes to read the weights of a layer from main memory, while products of
others run: so many instructions for every float, as often as rounds ask for it (see `Unit`). Of
products and weights the larger counts, for both go on at once. Against measurements on a Zen 5 with
AVX-512, one thread, weights cold (µs; ResNet-50's four sizes, F(4×4), F(2×2), direct):

    56×56×64    counted 253, 458, 849     measured 304, 498, 880
    28×28×128   counted 236, 423, 823     measured 270, 478, 872
    14×14×256   counted 355, 395, 789     measured 335, 427, 808
    7×7×512     counted   –, 630, 711     measured   –, 557, 803

and against instructions in QEMU, which has no memory to wait for, on a Cortex-A72 (millions; NEON
executes 1.2 instructions per multiply-add):

    56×56×64    counted 8.5, 14.2, 28.2   executed 11.0, 17.4, 34.7
    28×28×128   counted 7.9, 13.5, 27.5   executed 10.1, 17.0, 34.0
    14×14×256   counted  – , 13.2, 26.2   executed  –  , 16.7, 32.4
    7×7×512     counted  – , 25.4, 23.7   executed  –  , 21.0, 30.9 (weights count: direct form)

A form must promise a tenth less than direct, on ARM 40 %, and F(4×4) 30 % less than F(2×2), for
its weights are 4 times those of the filters in place of 1.8 times, and its error is three times as
large.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from millijoule.targets.kernels.conv.shape import Axis, ConvShape
from millijoule.targets.kernels.conv.winograd.plan import (
    block_width,
    plan_winograd,
    tiles_of_image,
)
from millijoule.targets.target import Isa

# Scalar tails make for long code: one copy per kind of tile
CHANNEL_MULTIPLE = 4
LEAST_TILES = 6
# Per tile and vector of channels: arithmetic, and stores, of which one goes where two of it do
INPUT = {2: 32 + 2 * 16, 4: 144 + 2 * 36}
RESULT = {2: 24 + 2 * 4 + 8, 4: 130 + 2 * 16 + 18}


@dataclass(frozen=True)
class Unit:
    """What a vector unit and the memory behind it are like.

    ``weight``: instructions in the time that a weight takes from main memory. ``most``: cost of a
    form over that of direct form. ``channels``: the fewest that were measured to gain.
    """

    weight: float
    most: float
    channels: int


_X86 = Unit(weight=1.25, most=0.9, channels=32)  # 26 GB/s beside 8.3 G instructions a second
# All four cores of a Raspberry Pi 4: 4 GB/s beside 6 G. What promises so much still gains where
# a weight takes 9.6 (Raspberry Pi 3: 2 GB/s beside 4.8 G).
_ARM64 = Unit(weight=6.0, most=0.6, channels=16)
UNITS = {("avx512", 32): _X86, ("avx2", 16): _X86, ("neon", 32): _ARM64}  # by registers


def choose_form(shape: ConvShape, isa: Isa) -> int:
    """Rows and columns of results per tile: 4 or 2; 0 for direct form."""
    unit = UNITS.get((isa.name, isa.registers))
    if unit is None or isa.product != "float32" or not _possible(shape, unit):
        return 0
    sizes = [m for m in (2, 4) if tiles_of_image(shape, m) >= LEAST_TILES]
    cost = {m: _cost(shape, m, isa, unit.weight) for m in sizes}
    best = min(cost, key=lambda m: cost[m] * (0.7 if m == 2 else 1.0), default=0)
    return best if best and cost[best] < unit.most * _direct_cost(shape, isa, unit.weight) else 0


def _possible(shape: ConvShape, unit: Unit) -> bool:
    """Whether the kernel computes it, and was measured to gain on so many channels."""
    plain = all((a.taps, a.stride, a.dilation) == (3, 1, 1) for a in (shape.rows, shape.columns))
    channels = (shape.channels, shape.outputs)
    wide = all(c >= unit.channels and c % CHANNEL_MULTIPLE == 0 for c in channels)
    return plain and shape.groups == 1 and wide


def _cost(shape: ConvShape, m: int, isa: Isa, weight: float) -> float:
    width = block_width(shape, isa)
    outputs = -(-shape.outputs // width) * width
    tiles, n2 = tiles_of_image(shape, m), (m + 2) ** 2
    passes = plan_winograd(replace(shape, batch=1), m, isa).passes(tiles)
    products = n2 * tiles * shape.channels * outputs / isa.lanes
    weights = weight * passes * n2 * shape.channels * outputs
    transforms = INPUT[m] * shape.channels + RESULT[m] * shape.outputs
    return max(products, weights) + tiles * transforms / isa.lanes


def _direct_cost(shape: ConvShape, isa: Isa, weight: float) -> float:
    """Of direct form, which leaves out the borders."""
    pairs = shape.channels * -(-shape.outputs // isa.lanes)
    taps = _taps(shape.rows) * _taps(shape.columns)
    return max(taps * pairs, weight * shape.depth * shape.outputs)


def _taps(axis: Axis) -> int:
    """Products along one axis whose input exists."""
    return sum(axis.valid(i, tap) for i in range(axis.out) for tap in range(axis.taps))
