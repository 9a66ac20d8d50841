"""What a scheduled kernel is to the passes: a function, and the scratch memory it wants planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from millijoule.converters.ops import TensorType
from millijoule.converters.ops.vocabulary import Attrs
from millijoule.sizes import most
from millijoule.targets.target import Isa


@dataclass(frozen=True)
class KernelForm:
    """``func`` takes operands, results, then ``scratch`` buffers, which the plan provides.

    ``packed``: operands that it takes in another layout, made from the constant at build time.
    """

    func: Any
    scratch: tuple[TensorType, ...] = ()
    packed: Mapping[int, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)


KernelBuilder = Callable[[Attrs, Sequence[TensorType], Isa], KernelForm]

# Below this many operations a parallel region costs more than it saves: about 2 µs of vector code
# against 0.7 µs of a launch. And a kernel on one thread fetches half of its input from the cache of
# another core if the kernel in front of it ran on two.
PARALLEL_OPERATIONS = 250_000
MAX_CHUNKS = 16


def parallel_chunks(rows: int, operations: int) -> int:
    """Into how many chunks to split ``rows`` of work for the thread pool; 1 for little work.

    Sizes that vary count as their largest.
    """
    return min(most(rows), MAX_CHUNKS) if most(operations) >= PARALLEL_OPERATIONS else 1


def rows_of_chunk(rows: int, least: int) -> int:
    """Rows of a chunk, the last of which may be short, so that two threads get even work.

    There are ``least`` chunks or somewhat more; of equals, those even for four threads, then few.
    """
    sizes = {-(-rows // count) for count in range(least, min(rows, 4 * least + 4) + 1)}

    def uneven(size: int) -> tuple[float, float, int]:
        chunks = -(-rows // size)
        two, four = (max(1.0, -(-chunks // n) * size * n / rows) for n in (2, 4))
        return round(16 * two) / 16, four, -size

    return min(sizes, key=uneven)
