"""How many weights of a direct convolution are asked for ahead of their use.

A model reads every weight once per run, from main memory or a cache that all cores share. While the
tiles of one block of output channels are computed, the next block's weights are asked for. Zen 5,
one thread, weights cold, without and with it (µs, floor of multiply-adds): 14×14, 160→160 44, 39
(38); 160→320 88, 76 (75); 224→224 86, 76 (74); 256→256 101, 97 (97).
"""

from __future__ import annotations

from millijoule.targets.kernels.conv.shape import ConvShape
from millijoule.targets.target import Isa

# Weights of a layer that come along fast enough by themselves
LEAST_BYTES = 32 << 10
# A block of which two do not fit in the second-level cache
MOST_BLOCK_BYTES = 640 << 10
# With more tiles to a block, the first one's wait is a small part of it
MOST_TILES = 64


def elements_ahead(shape: ConvShape, width: int, tiles: int, isa: Isa) -> int:
    """Weights of the next block, or group, to ask for per input channel, so that all are asked for.

    ``width``: output channels of a block; ``tiles``: how many it is used for before the next one.
    0 where that does not pay, and on instruction sets where it was not measured.
    """
    block = 4 * shape.depth * width
    weights = shape.groups * -(-shape.group_outputs // width) * block
    pays = weights > LEAST_BYTES and block <= MOST_BLOCK_BYTES and tiles <= MOST_TILES
    return -(-width // tiles) if pays and isa.name in ("avx512", "avx2") else 0
