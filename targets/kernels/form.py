"""What a scheduled kernel is to the passes: a function, and the scratch memory it wants planned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from millijoule.converters.ops import TensorType
from millijoule.converters.ops.vocabulary import Attrs
from millijoule.targets.target import Isa


@dataclass(frozen=True)
class KernelForm:
    """``func`` takes operands, results, then ``scratch`` buffers, which the plan provides."""

    func: Any
    scratch: tuple[TensorType, ...] = ()


KernelBuilder = Callable[[Attrs, Sequence[TensorType], Isa], KernelForm]

# Below this many operations a parallel region costs more than it saves (launch ≈ 2-5 µs).
PARALLEL_OPERATIONS = 4_000_000
MAX_CHUNKS = 16


def parallel_chunks(rows: int, operations: int) -> int:
    """Into how many chunks to split ``rows`` of work for the thread pool; 1 for little work."""
    return min(rows, MAX_CHUNKS) if operations >= PARALLEL_OPERATIONS else 1
