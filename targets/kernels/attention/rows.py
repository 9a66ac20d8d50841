"""Some queries at a time: their scores, softmax and values, scores in a strip of scratch memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tvm.script.ir_builder.tirx as T
from tvm import tirx

from millijoule.sizes import Size
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.attention.exponent import exp_of_negative
from millijoule.targets.kernels.attention.shape import AttentionShape, AttentionTile, Strided
from millijoule.targets.kernels.folds import Folded, fold_rows
from millijoule.targets.kernels.functions.bits import number
from millijoule.targets.kernels.gemm.chains import accumulate_for
from millijoule.targets.target import Isa

LOWEST = -3.4028234663852886e38  # of float32: the maximum of a row whose keys are all masked
INFINITY = float("inf")


@dataclass(frozen=True)
class Buffers:
    """Flat operands with their views, panels of keys, strips of scores, then of their exponentials
    (the same memory unless their types differ), and the flat result."""

    q: Any
    q_view: Strided
    v: Any
    v_view: Strided
    bias: Any
    bias_view: Strided | None
    panels: Any
    strips: Any
    powers: Any
    y: Any
    y_view: Strided


class Rows:
    """The code for ``rows`` queries of one head."""

    def __init__(
        self, buffers: Buffers, shape: AttentionShape, tile: AttentionTile, isa: Isa
    ) -> None:
        self._b, self._shape, self._tile, self._isa = buffers, shape, tile, isa
        self._varying = isinstance(shape.keys, Size)
        keys = T.int64(0) + shape.keys if self._varying else shape.keys
        self._full, self._rest = keys // tile.panel, keys % tile.panel

    def emit(self, strip: Any, head: Any, first: Any, rows: int) -> None:
        """Queries ``first`` … of ``head``, whose scores lie in strip number ``strip``."""
        batch = self._shape.unravel(head)
        lanes = self._tile.lanes
        peaks = simd.Accumulators(rows, lanes, lanes)
        peaks.fill(lambda _, vec: simd.splat(T.float32(LOWEST), vec[1]))

        def scores(block: Any, width: int) -> None:
            self._scores(strip, head, batch, first, rows, block, width, peaks)

        self._for_panels(first, rows, scores)
        peak = fold_rows(peaks, T.max)
        sums = simd.Accumulators(rows, lanes, lanes)
        sums.fill(lambda _, vec: simd.zeros(vec[1]))
        self._for_panels(
            first, rows, lambda block, width: self._exponents(strip, rows, block, width, peak, sums)
        )
        total = fold_rows(sums, lambda a, b: a + b)
        # a row whose keys are all masked is zero
        scale = total.map(lambda v, n: number(1, n) / T.max(v, number(1e-30, n)))
        # in memory, or LLVM moves the sums behind the product, whose registers they would take
        scale.store(self._b.strips, [strip, self._tile.rows])
        self._values(strip, batch, first, rows)

    def _for_panels(self, first: Any, rows: int, body: Callable[[Any, Any], None]) -> None:
        """``body(block, keys)`` for the panels of keys that queries ``first`` … may see."""
        panel, full = self._tile.panel, self._full
        seen = first + rows
        if self._varying:
            self._for_varying_panels(seen, body)
            return
        if full:
            bound = T.min(full, (seen + panel - 1) // panel) if self._shape.causal else full
            with T.serial(0, bound) as block:
                body(block, panel)
        if self._rest and self._shape.causal and full:
            with T.If(seen > full * panel), T.Then():
                body(full, self._rest)
        elif self._rest:
            body(full, self._rest)

    def _for_varying_panels(self, seen: Any, body: Callable[[Any, Any], None]) -> None:
        """The number of keys in the last panel is an expression."""
        panel, full, rest = self._tile.panel, self._full, self._rest
        causal = self._shape.causal
        bound = T.min(full, (seen + panel - 1) // panel) if causal else full
        with T.serial(T.int64(0), bound) as block:
            body(block, panel)
        wanted = tirx.all(rest > 0, seen > full * panel) if causal else rest > 0
        with T.If(wanted), T.Then():
            body(full, rest)

    def _scores(
        self,
        strip: Any,
        head: Any,
        batch: tuple[Any, ...],
        first: Any,
        rows: int,
        block: Any,
        width: Any,
        peaks: simd.Accumulators,
    ) -> None:
        b, shape, tile = self._b, self._shape, self._tile
        lanes = tile.lanes
        columns = simd.padded(width, lanes) if isinstance(width, int) else tile.panel
        acc = simd.Accumulators(rows, columns, lanes)
        acc.fill(lambda _, vec: simd.zeros(vec[1]))
        accumulate_for(self._isa)(
            acc,
            shape.width,
            tile.depth,
            lambda r, d, n: simd.load(b.q, [], b.q_view.start(batch, first + r) + d, n),
            lambda d, offset, n: simd.load(b.panels, [head, block, d], offset, n),
            self._isa,
        )
        for r in range(rows):
            for vec in acc.vectors:
                key = block * tile.panel + vec[0]
                value = acc.get(r, vec) * simd.splat(T.float32(shape.scale), lanes)
                present = width - vec[0]
                present = min(present, lanes) if isinstance(present, int) else present
                if b.bias_view is not None:
                    value = value + self._bias(batch, first + r, key, present)
                acc.set(r, vec, self._masked(value, first + r, key, present))
                simd.save(b.strips, [strip, r], key, lanes, acc.get(r, vec))
                peak = T.max(peaks.get(r, (0, lanes)), acc.get(r, vec))
                peaks.set(r, (0, lanes), peak)

    def _bias(self, batch: tuple[Any, ...], query: Any, key: Any, present: Any) -> Any:
        """The vector of biases from ``key``; behind the last key it repeats."""
        view, lanes = self._b.bias_view, self._tile.lanes
        assert view is not None
        start = view.start(batch, query)
        if view.strides[-1] == 0:
            return simd.splat(self._b.bias[start], lanes)
        if isinstance(present, int) and present == lanes:
            return simd.load(self._b.bias, [], start + key, lanes)
        behind = simd.splat(start + self._shape.keys - 1, lanes)
        return self._b.bias[T.min(simd.lanes_at(start + key, lanes), behind)]

    def _masked(self, value: Any, query: Any, key: Any, present: Any) -> Any:
        """−∞ for keys that are not there, or that the query may not see."""
        lanes = self._tile.lanes
        never = simd.splat(T.float32(-INFINITY), lanes)
        if not isinstance(present, int) or present < lanes:
            lane, count = simd.lanes_at(0, lanes), T.cast(present, "int32")
            value = T.Select(lane < simd.splat(count, lanes), value, never)
        if self._shape.causal:
            seen = simd.lanes_at(key, lanes) <= simd.splat(query, lanes)
            value = T.Select(seen, value, never)
        return value

    def _exponents(
        self,
        strip: Any,
        rows: int,
        block: Any,
        width: Any,
        peak: Folded,
        sums: simd.Accumulators,
    ) -> None:
        lanes, strips = self._tile.lanes, self._b.strips
        kept = [T.alloc_buffer((lanes,), "float32") for _ in range(rows)]
        with T.serial(0, (width + (lanes - 1)) // lanes) as vector:
            key = block * self._tile.panel + vector * lanes
            for r in range(rows):
                score = simd.load(strips, [strip, r], key, lanes)
                below = score - peak.splat(r, lanes)
                simd.save(kept[r], [], 0, lanes, exp_of_negative(below, lanes, self._isa))
                power = simd.load(kept[r], [], 0, lanes)
                rounded = simd.convert(power, self._isa.product, lanes)
                simd.save(self._b.powers, [strip, r], key, lanes, rounded)
                sums.set(r, (0, lanes), sums.get(r, (0, lanes)) + power)

    def _values(self, strip: Any, batch: tuple[Any, ...], first: Any, rows: int) -> None:
        """Σ p·v, divided by Σ p, for some columns at a time."""
        b, shape, tile = self._b, self._shape, self._tile
        for start, width in _even(shape.value_width, tile.vectors, tile.lanes):
            acc = simd.Accumulators(rows, width, tile.lanes)
            acc.fill(lambda _, vec: simd.zeros(vec[1]))

            def add(block: Any, keys: Any, start: int = start, acc: Any = acc) -> None:
                base = block * tile.panel
                accumulate_for(self._isa)(
                    acc,
                    keys,
                    tile.depth,
                    lambda r, k, n: simd.load(b.powers, [strip, r], base + k, n),
                    lambda k, offset, n: simd.load(
                        b.v, [], b.v_view.start(batch, base + k) + (start + offset), n
                    ),
                    self._isa,
                )

            if shape.causal:
                self._for_panels(first, rows, add)
            else:
                add(0, shape.keys)
            for row in range(rows):
                for vec in acc.vectors:
                    value = acc.get(row, vec) * simd.splat(b.strips[strip, tile.rows, row], vec[1])
                    at = b.y_view.start(batch, first + row) + (start + vec[0])
                    simd.save(b.y, [], at, vec[1], value)


def _even(width: int, most: int, lanes: int) -> list[tuple[int, int]]:
    """(start, columns) of chunks of at most ``most`` vectors, as even as vectors allow."""
    vectors = -(-width // lanes)
    chunks = -(-vectors // most)
    step = -(-vectors // chunks) * lanes
    return [(s, min(step, width - s)) for s in range(0, width, step)]
