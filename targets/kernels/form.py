"""What a scheduled kernel is to the passes: a function, and the scratch memory it wants planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from millijoule.converters.ops import TensorType
from millijoule.converters.ops.vocabulary import Attrs
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

# Below this many operations a parallel region costs more than it saves (launch ≈ 2-5 µs).
PARALLEL_OPERATIONS = 4_000_000
MAX_CHUNKS = 16


def parallel_chunks(rows: int, operations: int) -> int:
    """Into how many chunks to split ``rows`` of work for the thread pool; 1 for little work."""
    return min(rows, MAX_CHUNKS) if operations >= PARALLEL_OPERATIONS else 1
