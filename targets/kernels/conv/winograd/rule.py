"""Which convolutions take Winograd's form, by the shape of one image: bits must not tell batches.

Work is counted in multiply-add instructions: products of all tiles, waste at the border included;
transforms; and what it takes to read the weights of a layer from main memory once, while products
of others run: `WEIGHT` instructions for every float of it (26 GB/s beside 8.3 G instructions a
second). Of products and weights the larger counts, for both go on at once. Against measurements on
a Zen 5 with AVX-512, one thread, weights cold (µs; ResNet-50's four sizes, F(4×4), F(2×2), direct):

    56×56×64    counted 253, 458, 849     measured 304, 498, 880
    28×28×128   counted 236, 423, 823     measured 270, 478, 872
    14×14×256   counted 355, 395, 789     measured 335, 427, 808
    7×7×512     counted   –, 630, 711     measured   –, 557, 803

A form must promise a tenth less than direct, and F(4×4) 30 % less than F(2×2), for its weights
are 4 times those of the filters in place of 1.8 times, and its error is three times as large.
"""

from __future__ import annotations

from millijoule.targets.kernels.conv.shape import Axis, ConvShape
from millijoule.targets.kernels.conv.winograd.plan import block_width, tiles_of_image
from millijoule.targets.target import Isa

LEAST_CHANNELS = 32
# Scalar tails make for long code: one copy per kind of tile
CHANNEL_MULTIPLE = 4
LEAST_TILES = 6
WEIGHT = 1.25
# Per tile and vector of channels: arithmetic, and stores, of which one goes where two of it do
INPUT = {2: 32 + 2 * 16, 4: 144 + 2 * 36}
RESULT = {2: 24 + 2 * 4 + 8, 4: 130 + 2 * 16 + 18}
UNITS = ("avx512", "avx2")


def choose_form(shape: ConvShape, isa: Isa) -> int:
    """Rows and columns of results per tile: 4 or 2; 0 for direct form."""
    if not _possible(shape, isa):
        return 0
    cost = {m: _cost(shape, m, isa) for m in (2, 4) if tiles_of_image(shape, m) >= LEAST_TILES}
    best = min(cost, key=lambda m: cost[m] * (0.7 if m == 2 else 1.0), default=0)
    return best if best and cost[best] < 0.9 * _direct_cost(shape, isa) else 0


def _possible(shape: ConvShape, isa: Isa) -> bool:
    """Whether the kernel computes it, and was measured to gain on such units and channels."""
    if isa.name not in UNITS or isa.product != "float32":
        return False
    plain = all((a.taps, a.stride, a.dilation) == (3, 1, 1) for a in (shape.rows, shape.columns))
    channels = (shape.channels, shape.outputs)
    wide = all(c >= LEAST_CHANNELS and c % CHANNEL_MULTIPLE == 0 for c in channels)
    return plain and shape.groups == 1 and wide


def _cost(shape: ConvShape, m: int, isa: Isa) -> float:
    width = block_width(shape, isa)
    outputs = -(-shape.outputs // width) * width
    tiles, n2 = tiles_of_image(shape, m), (m + 2) ** 2
    products = n2 * tiles * shape.channels * outputs / isa.lanes
    weights = WEIGHT * n2 * shape.channels * outputs
    transforms = INPUT[m] * shape.channels + RESULT[m] * shape.outputs
    return max(products, weights) + tiles * transforms / isa.lanes


def _direct_cost(shape: ConvShape, isa: Isa) -> float:
    """Of direct form, which leaves out the borders."""
    pairs = shape.channels * -(-shape.outputs // isa.lanes)
    taps = _taps(shape.rows) * _taps(shape.columns)
    return max(taps * pairs, WEIGHT * shape.depth * shape.outputs)


def _taps(axis: Axis) -> int:
    """Products along one axis whose input exists."""
    return sum(axis.valid(i, tap) for i in range(axis.out) for tap in range(axis.taps))
