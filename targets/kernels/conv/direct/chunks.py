"""How the rows of a direct convolution are cut into jobs, in which order, on how many threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.sizes import Size, most
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.conv.shape import ConvShape
from millijoule.targets.kernels.form import parallel_chunks, rows_of_chunk

# Bytes of x, weights and results that a chunk of rows may touch: half of a second-level cache
CHUNK_BYTES = 256 << 10


@dataclass(frozen=True)
class Jobs:
    """``blocks`` of channels × chunks of ``size`` of all ``rows``, a `Size` if the batch varies.

    ``weights_first``: blocks are in the outer loop, because the weights do not fit in the cache.
    Threads take neighbouring jobs: rows first, so that the next kernel finds its rows where this
    one computed them, in the cache of its core.
    """

    blocks: int
    size: int
    rows: int | Size
    weights_first: bool
    parallel: bool

    @property
    def chunks(self) -> Any:
        """Number of chunks."""
        return simd.ceil_div(self.rows, self.size)

    @property
    def loop(self) -> Any:
        """The loop over all jobs."""
        return (T.parallel if self.parallel else T.serial)(0, self.blocks * self.chunks)

    def at(self, job: Any) -> tuple[Any, Any]:
        """Block and chunk of a job."""
        if self.weights_first:
            return job // self.chunks, job % self.chunks
        return job % self.blocks, job // self.blocks

    def rows_of(self, chunk: Any) -> Any:
        """The loop over the rows of a chunk, from 0."""
        if self.size == 1:
            return T.serial(0, 1)
        return T.serial(0, T.min(self.size, self.rows - chunk * self.size))


def plan_jobs(shape: ConvShape, blocks: int, *, whole: bool) -> Jobs:
    """The jobs of ``blocks`` of channels; ``whole``: an image is one chunk."""
    rows = shape.batch * shape.rows.out
    largest = most(rows)
    size = rows_in_cache(shape)
    weights_first = shape.depth * shape.outputs * 4 > CHUNK_BYTES
    parallel = parallel_chunks(blocks * largest, shape.multiply_adds) > 1
    if whole:
        size = shape.rows.out
        parallel = parallel and blocks * most(shape.batch) > 1
    elif parallel and not (weights_first and blocks % 2 == 0):
        size = rows_of_chunk(largest, -(-largest // size))
    return Jobs(blocks, size, rows, weights_first, parallel)


def rows_in_cache(shape: ConvShape) -> int:
    """How many rows of results, at least one, touch no more than `CHUNK_BYTES`."""
    row_bytes = 4 * (shape.columns.size * shape.channels + shape.columns.out * shape.outputs)
    return min(most(shape.batch * shape.rows.out), max(1, CHUNK_BYTES // row_bytes))
