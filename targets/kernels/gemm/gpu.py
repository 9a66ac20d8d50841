"""Matrix products on a GPU: tiles of both operands in shared memory, sums in registers, float32.

    finish(b, m, n, Σ_k x[b, m, k] · w[b, k, n])

What x, w and the result are is up to functions that load and store single elements, so that linear
layers, convolutions (implicit im2col), products of computed matrices and layers of signs share it.
Every result is one chain of fused multiply-adds in ascending k, whatever the tile: the bits are
those of the CPU kernels, and a stream (one row) equals its whole sequence. TF32 tensor cores would
be some four times as fast and keep 10 bits of the products: not by default.

Tiles: 128×128 (8×8 sums a thread) where that gives every multiprocessor two blocks, 64×64 (4×4),
32×32 (2×2) for few results, and one column per thread for up to 8 rows. In machine code for sm_87 a
thread of 8×8 has 4 LDS.128 for 64 FFMA per k, one of 4×4 has 2 for 16.

Bytes are widened as they are loaded and summed in int32, exactly and at the same rate.

Floor: multiply-adds over 128 per SM and cycle (2048 lanes at 1.3 GHz on Orin: 2.66 T/s), so
128×768×768 takes 28 µs; for one row the bytes of w over the bandwidth of memory, which the chains
of so few threads do not reach.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels.threads import (
    Registers,
    Shared,
    barrier,
    ceil_div,
    fma,
    for_all,
    launch,
    when,
)

PANEL = 32  # columns of packed weights that lie side by side: one line of 128 bytes
FEW_ROWS = 8
_DEPTH = 16  # of both operands that are in shared memory at once
_BLOCKS = 32  # that keep the 16 multiprocessors of Orin busy

Load = Callable[[Any, Any, Any], Any]  # (batch, row, k) or (batch, k, column) → float32
Finish = Callable[[Any, Any, Any, Any], None]  # (batch, row, column, value)


@dataclass(frozen=True)
class ProductShape:
    """``batch`` products of [rows, depth] by [depth, columns]."""

    batch: int
    rows: int
    columns: int
    depth: int


@dataclass(frozen=True)
class ProductTile:
    """``height`` × ``width`` results of a block, ``rows`` × ``columns`` of them a thread's."""

    height: int
    width: int
    rows: int
    columns: int

    @property
    def threads(self) -> tuple[int, int]:
        """Threads across and down."""
        return self.width // self.columns, self.height // self.rows


def product_tile(shape: ProductShape) -> ProductTile:
    """The largest tile that still keeps the GPU busy."""
    if shape.rows <= FEW_ROWS:
        return ProductTile(shape.rows, 64, shape.rows, 1)
    for size, sums in ((128, 8), (64, 4)):
        blocks = shape.batch * ceil_div(shape.rows, size) * ceil_div(shape.columns, size)
        if blocks >= _BLOCKS:
            return ProductTile(size, size, sums, sums)
    return ProductTile(32, 32, 2, 2)


def emit_product(
    shape: ProductShape,
    x: Load,
    w: Load,
    finish: Finish,
    *,
    rows_of_w: bool = False,
    dtype: str = "float32",
) -> None:
    """One launch, in float32 or int32, which x and w then give.

    ``rows_of_w``: neighbours in memory are neighbours along k, not along columns.
    """
    tile = product_tile(shape)
    grid = ceil_div(shape.columns, tile.width), ceil_div(shape.rows, tile.height), shape.batch
    with launch(grid, tile.threads) as ((bx, by, b), (tx, ty)):
        block = _Block(
            shape, tile, (b, by * tile.height, bx * tile.width), (tx, ty), rows_of_w, dtype
        )
        block.run(lambda row, k: x(b, row, k), lambda k, column: w(b, k, column))
        block.finish(lambda row, column, value: finish(b, row, column, value))


class _Block:
    """The code of one block."""

    def __init__(
        self,
        shape: ProductShape,
        tile: ProductTile,
        first: Any,
        at: Any,
        rows_of_w: bool,
        dtype: str,
    ) -> None:
        self._shape, self._tile, self._dtype = shape, tile, dtype
        _, self._row, self._column = first
        self._tx, self._ty = at
        across, down = tile.threads
        self._threads, self._me = across * down, self._ty * across + self._tx
        self._depth, self._rows_of_w = min(_DEPTH, shape.depth), rows_of_w
        # rows 16 bytes longer than a tile, so that threads along k store to different banks
        self._xs = Shared((self._depth, tile.height), dtype, pad=4)
        self._ws = Shared((self._depth, tile.width), dtype, pad=4 if rows_of_w else 0)
        self._acc = Registers(tile.rows * tile.columns, dtype)
        self._a, self._b = Registers(tile.rows, dtype), Registers(tile.columns, dtype)

    def run(self, x: Callable[[Any, Any], Any], w: Callable[[Any, Any], Any]) -> None:
        """All of k."""
        for i in range(self._tile.rows * self._tile.columns):
            self._acc[i] = T.cast(0, self._dtype)
        with T.serial(0, ceil_div(self._shape.depth, self._depth)) as chunk:
            self._chunk(x, w, chunk * self._depth)

    def _chunk(self, x: Any, w: Any, first: Any) -> None:
        """Load and multiply; what lies outside is 0, which adds nothing to a sum."""
        tile, shape, depth = self._tile, self._shape, self._depth

        def inside(k: Any, position: Any, extent: int, size: int) -> list[Any]:
            tests = [position < extent] if extent % size else []
            return tests + ([first + k < shape.depth] if shape.depth % depth else [])

        def load_x(e: Any) -> None:
            k, r = e % depth, e // depth
            row = self._row + r
            value = x(row, first + k)
            self._xs[k, r] = _if_all(inside(k, row, shape.rows, tile.height), value)

        def load_w(e: Any) -> None:
            k, c = (e % depth, e // depth) if self._rows_of_w else (e // tile.width, e % tile.width)
            column = self._column + c
            value = w(first + k, column)
            self._ws[k, c] = _if_all(inside(k, column, shape.columns, tile.width), value)

        for_all(depth * tile.height, self._threads, self._me, load_x)
        for_all(depth * tile.width, self._threads, self._me, load_w)
        barrier()
        with T.serial(0, depth) as k:
            self._multiply(k)
        barrier()

    def _multiply(self, k: Any) -> None:
        tile = self._tile
        for i in range(tile.rows):
            self._a[i] = self._xs[k, self._ty * tile.rows + i]
        for j in range(tile.columns):
            self._b[j] = self._ws[k, self._tx * tile.columns + j]
        for i in range(tile.rows):
            for j in range(tile.columns):
                at = i * tile.columns + j
                a, b, acc = self._a[i], self._b[j], self._acc[at]
                self._acc[at] = fma(a, b, acc) if self._dtype == "float32" else acc + a * b

    def finish(self, store: Callable[[Any, Any, Any], None]) -> None:
        """Hand every result on."""
        tile, shape = self._tile, self._shape
        for i in range(tile.rows):
            for j in range(tile.columns):
                row = self._row + self._ty * tile.rows + i
                column = self._column + self._tx * tile.columns + j
                inside = []
                if shape.rows % tile.height:
                    inside.append(row < shape.rows)
                if shape.columns % tile.width:
                    inside.append(column < shape.columns)
                with when(T.And(*inside) if len(inside) == 2 else inside[0] if inside else True):
                    store(row, column, self._acc[i * tile.columns + j])


def _if_all(tests: list[Any], value: Any) -> Any:
    """``value`` where every test holds, else 0; its loads happen only there."""
    for test in tests:
        value = T.if_then_else(test, value, T.cast(0, str(value.ty.dtype)))
    return value


def panels(w: Any) -> Callable[[Any, Any, Any], Any]:
    """``load(first panel, k, column)`` of weights packed as [panels, K, NR]."""
    width = int(w.shape[2])
    return lambda first, k, column: w[first + column // width, k, column % width]
