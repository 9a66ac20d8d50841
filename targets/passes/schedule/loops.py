"""Loops of 64-bit counters, which is what TVM's own functions index with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd


def index(value: Any) -> Any:
    """``value`` as an index."""
    return T.int64(value) if isinstance(value, int) else value


def serial(start: Any, stop: Any) -> Any:
    """A plain loop."""
    return T.serial(index(start), index(stop))


def parallel(start: Any, stop: Any) -> Any:
    """A loop on the thread pool."""
    return T.parallel(index(start), index(stop))


def vectorized(lanes: int) -> Any:
    """A loop whose body becomes vector code."""
    return T.vectorized(T.int64(0), T.int64(lanes))


def for_lanes(start: Any, lanes: int, body: Callable[[Any, Any], None]) -> None:
    """``body(start + lane, lane)`` for ``lanes`` elements at once."""
    if lanes == 1:
        body(index(start), T.int64(0))
        return
    with vectorized(lanes) as lane:
        body(index(start) + lane, lane)


def for_blocks(
    total: Any,
    width: int,
    body: Callable[[Any, int], None],
    loop: Callable[[Any, Any], Any] = serial,
) -> None:
    """`simd.for_blocks` with 64-bit counters."""
    simd.for_blocks(total, width, lambda start, size: body(index(start), size), loop)
